"""Grades over HTTP: vLLM's classification endpoint, NVIDIA's reward models, and judges."""
