"""Encoding prompts that differ only in the user's text, without building an object for each.

A file of a million texts has one run, one sampling and one set of tags. The shared parts are
encoded once. For each prompt, only its text, its id and its time are inserted.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final, NamedTuple, Unpack
from uuid import uuid4

import orjson

from promptmill_schemas import ids
from promptmill_schemas.base import encode
from promptmill_schemas.message import Message
from promptmill_schemas.prompt import FURTHER, Prompt, PromptOptions, Sampling

_OFFSET: Final = len("+00:00")


class Filled(NamedTuple):
    """A prompt that was made from a template: its id, its encoding and its time in RFC 3339."""

    prompt_id: str
    raw: bytes
    created_at: str


class PromptTemplate:
    """A prompt without its text.

    Args:
        run, n, sampling, adapter, tags, options: as in :meth:`Prompt.create`, which validates
            them.
    """

    def __init__(
        self,
        run: str,
        *,
        n: int = 1,
        sampling: Sampling | None = None,
        adapter: str | None = None,
        tags: dict[str, str] | None = None,
        **options: Unpack[PromptOptions],
    ) -> None:
        sampling = sampling or Sampling()
        mark, time = uuid4().hex, datetime(2000, 1, 1, tzinfo=UTC)
        self._example = Prompt.create(
            run,
            (Message(role="user", content=mark),),
            n=n,
            sampling=sampling,
            adapter=adapter,
            tags=tags,
            created_at=time,
            **options,
        )
        further = {name: value for name in FURTHER if (value := getattr(self._example, name))}
        text = b'"%s"' % mark.encode()
        turns = [["user", mark]]
        content = ids.prompt_content(run, turns, n, sampling.canonical(), adapter, further)
        self._before_content, self._after_content = content.split(text)
        self._head, rest = encode(self._example).split(self._example.prompt_id.encode(), 1)
        self._before_text, rest = rest.split(text)
        # The time is the last field with this form; tags precede it.
        self._before_time, self._tail = rest.rsplit(b"2000-01-01T00:00:00Z", 1)

    def fill(self, text: str) -> Filled:
        """Return the prompt with this text, which must not be empty, and the present time."""
        quoted = orjson.dumps(text)
        content = self._before_content + quoted + self._after_content
        prompt_id = blake2b(content, digest_size=ids.ID_BYTES).hexdigest()
        time = datetime.now(UTC).isoformat(timespec="microseconds")[:-_OFFSET] + "Z"
        parts = (
            self._head,
            prompt_id.encode(),
            self._before_text,
            quoted,
            self._before_time,
            time.encode(),
            self._tail,
        )
        return Filled(prompt_id, b"".join(parts), time)

    def conversation(self, text: str) -> Prompt:
        """Return the prompt as an object, to check its conversation; its id is not valid."""
        return self._example.model_copy(update={"messages": (Message(role="user", content=text),)})
