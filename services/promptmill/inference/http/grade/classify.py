"""The wire format of vLLM's classification endpoint.

Serve the model with ``vllm serve MODEL --runner pooling``. The endpoint returns the raw outputs in
order, and the label of the largest one only. The attributes therefore follow from the number of
outputs or from the settings, and a reply whose label contradicts this is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from promptmill.inference.http.address import Address
from promptmill.inference.http.chat import chat_messages
from promptmill.inference.http.errors import Malformed, NotFinite
from promptmill.inference.http.server import ServedModel
from promptmill.inference.ports import GradeRequest
from promptmill.inference.scores import NEMOTRON_ORDER, Heads, read_heads
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ATTRIBUTES, AttributeScores

_ORDERS: Mapping[int, Sequence[str]] = {len(ATTRIBUTES): ATTRIBUTES, 9: NEMOTRON_ORDER}
_UNNAMED = re.compile(r"LABEL_\d+")
_SUM_TOLERANCE = 1e-3


class ClassifyFormat:
    """The wire format in which scores are identified by their position.

    Args:
        names: the index of the output by attribute. If empty, five outputs are the attributes in
            their order, nine are those of Nemotron, and one is a single score.
    """

    engine = "openai-classify"
    revision = ""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = names
        self._heads: Heads | None = None
        self._outputs = 0

    def url(self, address: Address) -> str:
        """The classification endpoint, which is not below ``/v1``."""
        return f"{address.server}/classify"

    def fields(self, model: ServedModel, request: GradeRequest, _faults: int) -> dict[str, Any]:
        """The request body: the conversation with the answer as its last turn, no activation."""
        answer = {"role": "assistant", "content": request.answer}
        return {
            "model": model.name,
            "messages": [*chat_messages(request.messages), answer],
            "use_activation": False,
        }

    def read(self, reply: Any) -> AttributeScores:
        """Parse the five raw scores of a reply."""
        outputs, label = _outputs(reply)
        if self._heads is None:
            self._heads = self._settle(outputs)
            self._outputs = len(outputs)
        if len(outputs) != self._outputs:
            raise Malformed(
                f"the answer has {len(outputs)} outputs, but the first answer had {self._outputs}"
            )
        if not self._names:
            _check_label(outputs, label)
        return self._heads.scores(outputs)

    def simplify(self) -> bool:
        """Return ``False``, because the request cannot be simplified."""
        return False

    def _settle(self, outputs: Sequence[float]) -> Heads:
        if len(outputs) > 1 and min(outputs) >= 0 and abs(sum(outputs) - 1) < _SUM_TOLERANCE:
            raise Misconfigured(
                f"the server's outputs {outputs} add up to 1: they are probabilities, but raw "
                "outputs are required; use a version of vLLM that supports use_activation"
            )
        unnamed = [f"LABEL_{index}" for index in range(len(outputs))]
        labels = ATTRIBUTES if len(outputs) == len(ATTRIBUTES) else unnamed
        return read_heads(labels, self._names)


def _outputs(reply: Any) -> tuple[list[float], str]:
    """The outputs, and the label of the largest one."""
    data = reply.get("data") if isinstance(reply, dict) else None
    first = data[0] if isinstance(data, list) and data else None
    item = first if isinstance(first, dict) else {}
    outputs = item.get("probs")
    if not isinstance(outputs, list) or not outputs or not all(map(_is_number, outputs)):
        raise Malformed(f"the answer has no data.0.probs: {str(reply)[:120]}")
    if not all(map(math.isfinite, outputs)):
        raise NotFinite(f"the outputs are {outputs}: each must be a finite number")
    return outputs, str(item.get("label") or "")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_label(outputs: Sequence[float], label: str) -> None:
    """Check that the label of the largest output is the one that its position implies."""
    order = _ORDERS.get(len(outputs))
    if order is None or not label or _UNNAMED.fullmatch(label):
        return
    assumed = order[max(range(len(outputs)), key=outputs.__getitem__)]
    if not label.lower().endswith(assumed):
        raise Misconfigured(
            f"the server labels the largest output {label!r}, but its position means {assumed}: "
            "map the outputs with --heads.helpfulness INDEX and so on"
        )
