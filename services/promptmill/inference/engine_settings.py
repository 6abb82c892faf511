"""Settings of workers with a model in one of promptmill's engines."""

from __future__ import annotations

from promptmill.inference.http.settings import ServerSettings
from promptmill.inference.vllm.settings import VllmSettings


class EngineSettings(VllmSettings, ServerSettings):
    """What instruct and reward workers share."""

    def requests_together(self) -> int:
        """Sequences of vLLM, or requests at a server."""
        return {"vllm": self.sequences, "openai": self.concurrency}.get(self.engine, 0)
