"""A grader in vLLM: the raw outputs of a sequence-classification model."""

from __future__ import annotations

from collections.abc import Mapping

from promptmill.inference.ports import GradeRequest, GraderInfo, Load
from promptmill.inference.scores import Heads, read_heads
from promptmill.inference.vllm.model import VllmModel
from promptmill.inference.vllm.options import VllmOptions
from promptmill_schemas import AttributeScores, Message

CANARY = GradeRequest(
    "canary", (Message(role="user", content="Are you there?"),), answer="Yes, I am."
)


class VllmGrader:
    """A grader in vLLM. Each answer is a separate request, and vLLM batches them.

    Args:
        options: the model and the engine's options.
        heads: the label or index by attribute; if empty, the labels' names decide.
    """

    def __init__(self, options: VllmOptions, heads: Mapping[str, str] | None = None) -> None:
        self._model = VllmModel(options, "pooling")
        self._names = heads or {}
        self._heads: Heads | None = None

    @property
    def info(self) -> GraderInfo:
        """The grader's identity."""
        return GraderInfo("vllm", self._model.name, self._model.revision)

    @property
    def load(self) -> Load:
        """The requests that the engine is computing, and those that wait in it."""
        return self._model.progress.load

    @property
    def context_tokens(self) -> int:
        """Maximum tokens of a conversation with its answer."""
        return self._model.context_tokens

    async def start(self) -> None:
        """Load the model, and return when it has graded the canary."""
        await self._model.start(lambda: self.grade(CANARY))

    async def grade(self, request: GradeRequest) -> AttributeScores:
        """Return the raw scores; see :class:`~promptmill.inference.ports.GraderEngine`."""
        from vllm.pooling_params import PoolingParams

        token_ids = await self._model.renderer.render(request.messages, request.answer)
        params = PoolingParams(task="classify", use_activation=False)
        output = await self._model.run(request.request_id, token_ids, params, None)
        return self._read().scores(output.outputs.data.tolist())

    async def close(self) -> None:
        """Release the model and end its processes."""
        await self._model.close()

    def _read(self) -> Heads:
        if self._heads is None:
            labels = self._model.core.config.model_config.hf_config.id2label
            self._heads = read_heads([labels[index] for index in sorted(labels)], self._names)
        return self._heads
