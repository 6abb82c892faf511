"""Settings of a worker whose model runs in vLLM or on an HTTP server."""

from __future__ import annotations

from promptmill.inference.http.settings import ServerSettings
from promptmill.inference.vllm.settings import VllmSettings


class EngineSettings(VllmSettings, ServerSettings):
    """The engine settings that instruct and reward workers share."""

    def max_concurrent_requests(self) -> int:
        """The batch size of vLLM, or the number of concurrent requests to a server."""
        return {"vllm": self.sequences, "openai": self.concurrency}.get(self.engine, 0)
