"""Generators and graders behind ports: vLLM, HTTP servers and scripted engines."""
