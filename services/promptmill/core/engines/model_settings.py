"""Settings of workers that have a model, wherever it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from promptmill.core.stage_settings import StageSettings

SLOTS = 64
"""Where no engine says how much it computes together."""


class ModelSettings(StageSettings):
    """What is told of the model before it is known which engine runs it."""

    engine: Literal["vllm", "openai", "scripted"] = Field(
        default="vllm",
        description="engine that runs the model; scripted is only for tests and load runs",
    )
    model: str = Field(
        default="", description="folder of the model, or its name at the model hub or on the server"
    )
    slots: int = Field(
        default=0,
        ge=0,
        description=(
            "records processed at the same time; 0 chooses enough to keep the engine busy"
        ),
    )

    @property
    def slots_at_work(self) -> int:
        """Half as many again as the engine computes together.

        A record may be a single request, and while a finished one is published and the next is
        taken up, others have to wait at the engine already, or it runs short.
        """
        together = self.requests_together()
        return self.slots or together + (together + 1) // 2 or SLOTS

    def requests_together(self) -> int:
        """Requests that the chosen engine works on at once; 0 where it has no limit."""
        return 0
