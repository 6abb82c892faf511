"""Settings of workers whose model is behind an HTTP server."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from promptmill.inference.http.options import HttpOptions, Server, read_api_key
from promptmill.inference.settings import ModelSettings
from promptmill.runtime.errors import Misconfigured

PATIENCE_SHARE = 3
"""A record waits at most this part of its deadline for the server; then its time begins anew."""


class ServerSettings(ModelSettings):
    """The part for ``--engine openai``; the key comes from PROMPTMILL_API_KEY alone."""

    base_url: str = Field(
        default="",
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

    def http_options(self) -> HttpOptions:
        """What the HTTP engine is told.

        Raises:
            Misconfigured: settings that contradict each other, or a key that cannot be sent.
        """
        timeout_s = self.request_timeout_s or self.deadline_s / PATIENCE_SHARE
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
            patience_s=self.deadline_s / PATIENCE_SHARE,
            tries=self.attempts,
            start_limit_s=self.start_limit_s,
            ca_file=self.ca_file,
            api_key=read_api_key(),
        )
