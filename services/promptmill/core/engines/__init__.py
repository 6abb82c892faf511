"""Ports to language models and graders."""
