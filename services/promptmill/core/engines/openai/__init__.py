"""Models behind any OpenAI-compatible HTTP server: generators and three kinds of graders."""
