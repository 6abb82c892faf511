"""Whether a model thinks before it answers, as each engine and kind of server wants it said.

==========  ===================================================================================
server      on, off                    budget
==========  ===================================================================================
vllm        chat template              ``thinking_token_budget``
nim         chat template              ``nvext.max_thinking_tokens``
openai      ``reasoning_effort``       the effort whose usual length is nearest
others      chat template              chat template
==========  ===================================================================================

Templates disagree on the name of their argument (``enable_thinking``, ``thinking``), and ignore
those that they do not know, so they get both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from promptmill.runtime.errors import Misconfigured

MAX_BUDGET: Final = 1 << 20
_LOW_UP_TO: Final = 1_024
_MEDIUM_UP_TO: Final = 8_192

TEMPLATE: Final = "chat_template_kwargs"
EFFORT: Final = "reasoning_effort"
_FLAGS: Final = ("enable_thinking", "thinking")
_BUDGET: Final = "thinking_budget"


@dataclass(frozen=True, slots=True)
class Thinking:
    """What is asked of the model.

    Attributes:
        is_on: whether it is to think.
        budget: most tokens of its reasoning; ``None`` leaves them to the model.
    """

    is_on: bool
    budget: int | None = None

    def template_arguments(self) -> dict[str, Any]:
        """The arguments of the chat template."""
        arguments: dict[str, Any] = dict.fromkeys(_FLAGS, self.is_on)
        return arguments if self.budget is None else arguments | {_BUDGET: self.budget}

    def fields(self, server: str) -> dict[str, Any]:
        """The fields of a request to a server of this kind."""
        if server == "openai":
            return {EFFORT: effort_of(self.is_on, self.budget)}
        fields: dict[str, Any] = {TEMPLATE: self.template_arguments()}
        if self.budget is not None and server == "vllm":
            fields["thinking_token_budget"] = self.budget
        if self.budget is not None and server == "nim":
            fields["nvext"] = {"max_thinking_tokens": self.budget}
        return fields


def read_thinking(text: str) -> Thinking | None:
    """The setting ``thinking``: ``on``, ``off``, or a number of tokens; empty asks for nothing.

    Raises:
        Misconfigured: the text is none of these.
    """
    said = text.strip().lower()
    if not said:
        return None
    if said in {"on", "off"}:
        return Thinking(said == "on")
    if said.isdecimal() and 1 <= int(said) <= MAX_BUDGET:
        return Thinking(is_on=True, budget=int(said))
    raise Misconfigured(
        f"thinking is {text!r}: it can be on, off, or a budget from 1 to {MAX_BUDGET} tokens"
    )


def effort_of(is_on: bool, budget: int | None) -> str:
    """The effort that stands for a budget; ``medium`` without one, ``none`` for no thinking."""
    if not is_on:
        return "none"
    if budget is None or _LOW_UP_TO < budget <= _MEDIUM_UP_TO:
        return "medium"
    return "low" if budget <= _LOW_UP_TO else "high"


def as_effort(body: dict[str, Any]) -> None:
    """Replace the arguments of the template by an effort, in the body of a request."""
    arguments = dict(body.get(TEMPLATE) or {})
    flags = [arguments.pop(name) for name in _FLAGS if name in arguments]
    budget = arguments.pop(_BUDGET, None)
    if not flags:
        return
    body[EFFORT] = effort_of(bool(flags[0]), budget)
    body.pop(TEMPLATE)
    if arguments:
        body[TEMPLATE] = arguments


def filled_in(
    body: Mapping[str, Any], more: Mapping[str, Any], neutral: Mapping[str, Any]
) -> dict[str, Any]:
    """The body of a request with further fields, which it does not overrule where it is neutral.

    Objects are merged, and what the request has is kept.
    """
    filled = dict(body)
    for name, value in more.items():
        own = filled.get(name)
        if isinstance(own, dict) and isinstance(value, dict):
            filled[name] = {**value, **own}
        elif name not in filled or (name in neutral and own == neutral[name]):
            filled[name] = value
    return filled
