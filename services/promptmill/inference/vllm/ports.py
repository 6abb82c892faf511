"""The port to vLLM's engine core, and the translation of vLLM's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from promptmill.runtime.errors import EngineDead, Poison, PromptmillError, Transient

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class Core(Protocol):
    """An engine core that takes token ids and returns one finished output per request.

    Attributes:
        config: vLLM's configuration. Valid after ``start``.
        tokenizer: the model's tokenizer. Valid after ``start``.
    """

    config: VllmConfig
    tokenizer: Any

    async def start(self) -> None:
        """Load the model, without blocking the event loop."""

    async def run(self, request_id: str, token_ids: list[int], params: Any, lora: Any) -> Any:
        """Return the finished output. Cancelling the call aborts the request."""

    def check(self) -> None:
        """Kill the engine if one of its processes has exited."""

    def kill(self, reason: str) -> None:
        """End the engine's processes; all outstanding requests raise ``EngineDead``."""

    async def close(self) -> None:
        """Release the model and its processes; allowed after ``kill`` and before ``start``."""


def translate(error: Exception) -> PromptmillError:
    """Translate an error of vLLM into one of promptmill's errors."""
    from vllm.exceptions import VLLMClientError, VLLMServerError
    from vllm.v1.engine.exceptions import EngineDeadError

    if isinstance(error, PromptmillError):
        return error
    if isinstance(error, EngineDeadError):
        return EngineDead(f"the engine's processes have exited: {error}")
    if isinstance(error, VLLMServerError):
        return Transient(f"the engine failed on this request: {error.__cause__ or error}")
    if isinstance(error, (VLLMClientError, ValueError, TypeError)):
        return Poison(f"the engine refused the request: {error}; change the prompt's sampling")
    return EngineDead(f"the engine failed: {type(error).__name__}: {error}")
