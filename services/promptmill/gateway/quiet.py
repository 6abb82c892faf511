"""Libraries keep silent in commands: what matters reaches the person as an error."""

from __future__ import annotations

import logging
import sys

LIBRARIES = ("aiokafka", "asyncio", "faststream")


def quiet_logs() -> None:
    """Log nothing below critical, and never to standard output."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)
