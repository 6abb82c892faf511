"""vLLM as an engine, in the worker's process or in processes of its own."""
