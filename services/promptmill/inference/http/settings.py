"""Settings of a worker whose model is on an HTTP server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from promptmill.inference.http.abilities import read_abilities
from promptmill.inference.http.chat import OURS
from promptmill.inference.http.headers import read_headers, read_query
from promptmill.inference.http.options import HttpOptions, Server, read_api_key
from promptmill.inference.settings import ModelSettings, read_key_values, read_values
from promptmill.inference.thinking import read_thinking
from promptmill.runtime.errors import Misconfigured

PATIENCE_DIVISOR = 3
"""A request waits for the server for at most ``deadline_s`` divided by this number.

After that the record is retried in place, and its deadline starts again.
"""


KeyValues = Annotated[dict[str, str], NoDecode, BeforeValidator(read_key_values)]


class ServerSettings(ModelSettings):
    """The settings of ``--engine openai``; the key is read only from PROMPTMILL_API_KEY."""

    base_url: str = Field(
        default="",
        repr=False,
        description=(
            "openai: address of the server, http://HOST:PORT/v1; the key comes from "
            "PROMPTMILL_API_KEY"
        ),
    )
    server: Server = Field(
        default="auto",
        description=(
            "openai: kind of server, which decides the extensions used; auto asks the server"
        ),
    )
    concurrency: int = Field(
        default=256, ge=1, description="openai: maximum number of concurrent requests"
    )
    request_timeout_s: float | None = Field(
        default=None,
        gt=0,
        description="openai: time-out of one request; a third of deadline_s if unset",
    )
    start_limit_s: float = Field(
        default=300.0, gt=0, description="openai: how long to wait for the server at start-up"
    )
    ca_file: Path | None = Field(
        default=None, description="openai: file of trusted certificates in PEM format"
    )
    headers: KeyValues = Field(
        default_factory=dict,
        repr=False,
        description=(
            "openai: further headers, as NAME=VALUE; $NAME in a value is taken from the environment"
        ),
    )
    query: KeyValues = Field(
        default_factory=dict,
        repr=False,
        description="openai: further query parameters, as NAME=VALUE; values as in headers",
    )
    dialect: KeyValues = Field(
        default_factory=dict,
        description=(
            "openai: what the server understands, if it cannot be found out: seed=63|31|none, "
            "limit=max_tokens|max_completion_tokens, chance=both|temperature|none, "
            "stream=no|yes|plain, json=schema|object|none, thinking=template|effort|minimal"
        ),
    )

    extra_body: Annotated[dict[str, Any], NoDecode, BeforeValidator(read_values)] = Field(
        default_factory=dict,
        repr=False,
        description=(
            "openai: further fields of every request, as NAME=VALUE with the value in JSON, or as "
            "a JSON object; a prompt's own fields take precedence"
        ),
    )

    def http_options(self) -> HttpOptions:
        """The options of the HTTP engine.

        Raises:
            Misconfigured: settings contradict each other, or the key is not valid in a header.
        """
        if ours := sorted(OURS & set(self.extra_body)):
            raise Misconfigured(
                f"extra_body has {', '.join(ours)}, which promptmill sets itself: remove it"
            )
        timeout_s = self.request_timeout_s or self.deadline_s / PATIENCE_DIVISOR
        if timeout_s >= self.deadline_s:
            raise Misconfigured(
                f"request_timeout_s is {timeout_s:g} and deadline_s is {self.deadline_s:g}: a "
                "record would be dead-lettered before its request times out; raise --deadline-s"
            )
        return HttpOptions(
            base_url=self.base_url,
            model=self.model,
            server=self.server,
            concurrency=self.concurrency,
            request_timeout_s=timeout_s,
            patience_s=self.deadline_s / PATIENCE_DIVISOR,
            tries=self.attempts,
            start_limit_s=self.start_limit_s,
            ca_file=self.ca_file,
            api_key=read_api_key(),
            headers=read_headers(self.headers),
            query=read_query(self.query),
            thinking=read_thinking(self.thinking),
            extra_body=self.extra_body,
            abilities=read_abilities(self.dialect),
        )
