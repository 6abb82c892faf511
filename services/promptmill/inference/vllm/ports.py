"""The port behind which vLLM's engine is driven, and the translation of its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from promptmill.runtime.errors import EngineDead, Poison, PromptmillError, Transient

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class Core(Protocol):
    """A started engine: token ids in, one finished output out."""

    config: VllmConfig
    tokenizer: Any

    async def start(self) -> None:
        """Load the model; blocks nothing else meanwhile."""

    async def run(self, request_id: str, token_ids: list[int], params: Any, lora: Any) -> Any:
        """The finished output. Cancelling the call aborts the request."""

    def check(self) -> None:
        """Kill the engine if a part of it is gone."""

    def kill(self, reason: str) -> None:
        """Give up: everything outstanding raises ``EngineDead``, its processes end."""

    async def close(self) -> None:
        """Free model and processes; safe after ``kill`` and before ``start``."""


def translate(error: Exception) -> PromptmillError:
    """What an error of vLLM means for the record."""
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
