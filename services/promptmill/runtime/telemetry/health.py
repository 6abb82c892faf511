"""The HTTP endpoint of a worker, with liveness, readiness and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.telemetry.metrics import StageMetrics

LOOPBACK = "127.0.0.1"


class Health:
    """The state that the probes report.

    Args:
        trouble: called at every probe; describes a problem that makes the worker unready, or
            returns an empty text. More of them can be added with :meth:`watch`.
    """

    def __init__(self, trouble: Callable[[], str] = lambda: "") -> None:
        self._is_set_ready = False
        self._detail = "starting"
        self._troubles = [trouble]

    def watch(self, trouble: Callable[[], str]) -> None:
        """Let another problem make the worker unready."""
        self._troubles.append(trouble)

    @property
    def trouble(self) -> str:
        """The first problem that makes the worker unready; empty if there is none."""
        return next((text for text in (find() for find in self._troubles) if text), "")

    @property
    def ready(self) -> bool:
        """Whether the worker has joined its group and processes records."""
        return self._is_set_ready and not self.trouble

    @property
    def detail(self) -> str:
        """The state as text."""
        return (self._is_set_ready and self.trouble) or self._detail

    def set_ready(self) -> None:
        """Report that the worker is ready."""
        self._is_set_ready, self._detail = True, "ready"

    def set_unready(self, detail: str) -> None:
        """Report that the worker takes no new records, for the reason in ``detail``."""
        self._is_set_ready, self._detail = False, detail


class HealthServer:
    """``/health/live``, ``/health/ready`` and ``/metrics`` on one port.

    Args:
        health: the state to report.
        metrics: the metrics to expose.
        host: the address to listen on; loopback by default.
        port: the port to listen on; 0 means any free port.
    """

    def __init__(
        self, health: Health, metrics: StageMetrics, host: str = LOOPBACK, port: int = 0
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/health/live", self._live)
        app.router.add_get("/health/ready", self._ready)
        app.router.add_get("/metrics", self._exposition)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise Misconfigured(
                f"port {self._port} on {self._host} cannot be opened ({error.strerror}): choose "
                "another port with --port, or 0 for a free one"
            ) from error
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, _request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def _ready(self, _request: web.Request) -> web.Response:
        body = {"ready": self._health.ready, "detail": self._health.detail}
        return web.json_response(body, status=200 if self._health.ready else 503)

    async def _exposition(self, _request: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=self._metrics.exposition(), headers=headers)
