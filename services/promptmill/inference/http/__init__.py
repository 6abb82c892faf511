"""Models behind any server that is compatible with the OpenAI API."""
