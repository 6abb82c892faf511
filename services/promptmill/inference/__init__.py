"""Language models and graders behind ports: vLLM, HTTP servers, scripted engines."""
