"""The headers of messages: CloudEvents 1.0 in binary mode, and the W3C trace context.

They tell other programs what a message is and to which trace it belongs. No stage depends on them,
and the value of a message is the same without them. See decision 0041.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from promptmill_schemas.base import SCHEMA_VERSION, Contract
from promptmill_schemas.completion import Completion
from promptmill_schemas.dead_letter import DeadLetter
from promptmill_schemas.prompt import Prompt
from promptmill_schemas.record import Record
from promptmill_schemas.reject import Reject
from promptmill_schemas.scored import Scored
from promptmill_schemas.topics import Topic

Headers: TypeAlias = tuple[tuple[str, bytes], ...]
"""Names and values of a message's headers."""

CONTENT_TYPE: Final = "application/json"
SPECVERSION: Final = "1.0"
TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

DESCRIPTIONS: Final = {
    "content-type": "The media type of the value.",
    "ce_specversion": "The version of CloudEvents.",
    "ce_id": "The id of the message; with ce_source it identifies the event.",
    "ce_source": "The program that published the message, with its host and process id.",
    "ce_type": "The contract of the value and its version.",
    "ce_subject": "The id of the prompt to which the message belongs.",
    "ce_time": "When the message was created; for completions and grades, when the work began.",
    TRACEPARENT: "The W3C trace context; publish starts a trace with the prompt's id as its id.",
    TRACESTATE: "The state of other tracing systems, passed on as it is.",
}
"""The known headers with their descriptions; all other headers are dropped."""

MAX_VALUE_BYTES: Final = 512
"""The size of the longest accepted value; W3C requires 512 characters of tracestate."""

MAX_MEMBERS: Final = 32

SAMPLED: Final = "01"
_TRACE: Final = (TRACEPARENT, TRACESTATE)
_ID: Final = re.compile(r"[0-9a-f]{32}")
_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]*)?"
)
_MEMBER: Final = re.compile(rb"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,256}")


def kept(given: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Return the known headers of a message whose values are not too long.

    A message with more headers than there are known names is hostile, and none of them are kept.
    """
    found = tuple(
        (name, value)
        for name, value in given
        if name in DESCRIPTIONS and value and len(value) <= MAX_VALUE_BYTES
    )
    return found if len(found) <= len(DESCRIPTIONS) else ()


def trace_of(headers: Headers) -> Headers:
    """Return the valid trace context among the headers of a message; empty if there is none.

    An invalid ``tracestate`` is dropped, and an invalid or repeated ``traceparent`` drops both, as
    W3C asks.
    """
    parents = [value for name, value in headers if name == TRACEPARENT]
    if len(parents) != 1 or not _is_traceparent(parents[0]):
        return ()
    state = b",".join(value for name, value in headers if name == TRACESTATE)
    if not state or not _is_tracestate(state):
        return ((TRACEPARENT, parents[0]),)
    return ((TRACEPARENT, parents[0]), (TRACESTATE, state))


def new_trace(prompt_id: str) -> Headers:
    """Return a trace whose id is the prompt's id, so that each can be found from the other.

    A prompt's id is a digest of 128 bits, so it is as good as a random trace id, and a prompt that
    is published twice has one trace.
    """
    if not _ID.fullmatch(prompt_id):
        return ()
    value = f"00-{prompt_id}-{prompt_id[:16]}-{SAMPLED}".encode()
    return ((TRACEPARENT, value),) if _is_traceparent(value) else ()


def as_texts(headers: Headers) -> dict[str, str] | None:
    """Return the headers as a dead letter keeps them; ``None`` without any.

    Values that are not printable UTF-8 and headers that occur twice are omitted.
    """
    names = [name for name, _ in headers]
    texts = {
        name: text
        for name, value in headers
        if names.count(name) == 1 and (text := _text(value)) is not None
    }
    return texts or None


class EventHeaders:
    """Builds the headers of the messages that one program publishes.

    Args:
        part: the stage or the command, which is part of ``ce_source``.
    """

    def __init__(self, part: str) -> None:
        host = quote(socket.gethostname(), safe="")
        self._source = f"/promptmill/{part}/{host}/{os.getpid()}"[:MAX_VALUE_BYTES].encode()
        self._constant: dict[str, Headers] = {}

    def of(self, topic: Topic, contract: Contract, trace: Headers = ()) -> Headers:
        """Return the headers of a message.

        Args:
            trace: the trace context of the message that led to it.
        """
        event, subject = _event_id(topic, contract), _subject(topic, contract)
        return self.about(topic, event, subject=subject, time=_time(contract), trace=trace)

    def about(
        self,
        topic: Topic,
        event: str,
        *,
        subject: str | None = None,
        time: str | None = None,
        trace: Headers = (),
    ) -> Headers:
        """Return the headers of a message that is not available as a contract.

        Args:
            event: the id of the message.
            subject: the id of its prompt.
            time: the time of its creation, in RFC 3339.
        """
        own = [("ce_id", event.encode())]
        if subject is not None:
            own.append(("ce_subject", subject.encode()))
        if time is not None:
            own.append(("ce_time", time.encode()))
        return (*self._constants(topic), *own, *trace)

    def again(self, topic: Topic, headers: Headers, message_id: str) -> Headers:
        """Return the headers of a message that is published again: its own, or new ones.

        Args:
            headers: the headers of the earlier message.
            message_id: the id of its prompt or other subject.
        """
        event = {n: t for n, t in (as_texts(headers) or {}).items() if n not in _TRACE}
        trace = trace_of(headers)
        if "ce_id" in event:
            return (*((name, text.encode()) for name, text in event.items()), *trace)
        return self.about(topic, message_id, trace=trace or new_trace(message_id))

    def _constants(self, topic: Topic) -> Headers:
        """Return the headers that are the same for all messages to the topic, built once."""
        if topic.name not in self._constant:
            self._constant[topic.name] = (
                ("content-type", CONTENT_TYPE.encode()),
                ("ce_specversion", SPECVERSION.encode()),
                ("ce_type", event_type(topic).encode()),
                ("ce_source", self._source),
            )
        return self._constant[topic.name]


def event_type(topic: Topic) -> str:
    """Return the ``ce_type`` of messages on a topic, such as ``promptmill.scored.v1``."""
    return f"promptmill.{contract_name(topic)}.v{SCHEMA_VERSION}"


def contract_name(topic: Topic) -> str:
    """Return the name of a topic's contract in lower case, with hyphens between words."""
    return "-".join(re.findall(r"[A-Z][a-z]+", topic.contract.__name__)).lower()


def headers_schema(topic: Topic) -> dict[str, Any]:
    """Return the JSON Schema of the headers of the messages on a topic."""
    constant = {
        "content-type": CONTENT_TYPE,
        "ce_specversion": SPECVERSION,
        "ce_type": event_type(topic),
    }
    properties = {
        name: {
            "type": "string",
            **({"const": constant[name]} if name in constant else {}),
            "description": description,
        }
        for name, description in DESCRIPTIONS.items()
    }
    return {"type": "object", "properties": properties}


def from_texts(texts: Mapping[str, str] | None) -> Headers:
    """Return the headers that a dead letter keeps, bounded like those of a message."""
    return kept((name, text.encode()) for name, text in (texts or {}).items())


def _event_id(topic: Topic, contract: Contract) -> str:
    """Return the id of a message: its own, or that of its prompt and the number of its replay."""
    if isinstance(contract, DeadLetter):
        is_dead = contract.state == "dead"
        return contract.letter_id if is_dead else f"{contract.letter_id}-{contract.state}"
    if isinstance(contract, Record):
        return contract.record_id
    if isinstance(contract, Reject):
        return contract.decision_id
    prompt = _prompt(contract)
    key = topic.key(contract)
    return key if prompt is None or not prompt.replays else f"{key}-{prompt.replays}"


def _prompt(contract: Contract) -> Prompt | None:
    if isinstance(contract, Scored):
        return contract.completion.prompt
    if isinstance(contract, Completion):
        return contract.prompt
    return contract if isinstance(contract, Prompt) else None


def _subject(topic: Topic, contract: Contract) -> str | None:
    return contract.prompt_id if isinstance(contract, DeadLetter) else topic.key(contract)


def _time(contract: Contract) -> str | None:
    timed = contract.timings if isinstance(contract, Completion | Scored) else contract
    time = getattr(timed, "started_at", None) or getattr(timed, "created_at", None)
    return time.astimezone(UTC).isoformat() if isinstance(time, datetime) else None


def _is_traceparent(value: bytes) -> bool:
    """Check a traceparent: version 00 has exactly four fields, and later versions may add some."""
    found = _TRACEPARENT.fullmatch(value)
    return found is not None and (found[1] is None or not value.startswith(b"00"))


def _is_tracestate(value: bytes) -> bool:
    if len(value) > MAX_VALUE_BYTES:
        return False
    members = [member.strip(b" \t") for member in value.split(b",")]
    return len(members) <= MAX_MEMBERS and all(not m or _MEMBER.fullmatch(m) for m in members)


def _text(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None
