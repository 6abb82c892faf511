"""Structured logs: one JSON object per line, or readable text on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from promptmill.runtime.terminal import printable_event

SECRET_WORDS = ("password", "secret", "token", "api_key", "authorization")
_KEPT = {"completion_tokens", "prompt_tokens", "context_tokens", "max_tokens"}
_NOISY = ("aiokafka", "faststream", "asyncio", "vllm")


def set_up_logs(service: str, level: str = "INFO", *, as_json: bool | None = None) -> None:
    """Configure the logs of this process, which are written to standard error.

    Args:
        service: the name that is added to every event.
        level: the level of promptmill's events; noisy libraries log only warnings and errors.
        as_json: whether to write JSON; ``None`` writes text if standard error is a terminal.
    """
    as_json = not sys.stderr.isatty() if as_json is None else as_json
    # The traceback is formatted here for both forms. The console's own formatter shows local
    # variables, which may be secrets, and foreign text without escapes.
    renderers: list[Any] = (
        [structlog.processors.JSONRenderer()]
        if as_json
        else [printable_event, structlog.dev.ConsoleRenderer()]
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def hide_secrets(_logger: Any, _method: str, event: Any) -> Any:
    """Replace the values of fields whose names suggest a secret with ``***``."""
    for name in event:
        if name not in _KEPT and any(word in name.lower() for word in SECRET_WORDS):
            event[name] = "***"
    return event
