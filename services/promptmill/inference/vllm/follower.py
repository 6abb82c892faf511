"""The ranks of a further host, which compute for the engine on host number 0.

The process of these ranks takes no records. It ends when one of its ranks exits, or the first rank
of the group, which it watches through a connection to the group's rendezvous port.
"""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import Sequence
from contextlib import suppress

import structlog
from vllm.v1.executor.multiproc_executor import MultiprocExecutor

from promptmill.inference.vllm import process_group
from promptmill.inference.vllm.config import make_config
from promptmill.inference.vllm.environment import quiet_loggers
from promptmill.inference.vllm.options import Runner, VllmOptions
from promptmill.runtime.errors import EngineDead, PromptmillError
from promptmill.runtime.timing import Deadline
from promptmill.stream.ports import Partition

log = structlog.get_logger(__name__)

WATCH_INTERVAL_S = 1.0


class Follower:
    """Runs the ranks of this host; see :class:`~promptmill.worker.lifecycle.Runner`."""

    in_flight = 0
    waiting = 0
    assigned: Sequence[Partition] = ()

    def __init__(self, options: VllmOptions, runner: Runner) -> None:
        self.joined = asyncio.Event()
        self._options = options
        self._runner = runner
        self._mark = uuid.uuid4().hex
        self._stop = asyncio.Event()

    def stop(self, _deadline: Deadline | None = None) -> None:
        """Begin the shutdown; a follower has nothing to drain."""
        self._stop.set()

    async def run(self) -> None:
        """Start the ranks, and return after :meth:`stop`.

        Raises:
            Misconfigured: the model or an option cannot be used.
            EngineDead: a rank of this host, or the first rank of the group, has exited.
        """
        guard = await asyncio.to_thread(process_group.start_guard, self._mark)
        try:
            if await self._started():
                await self._watch(await asyncio.to_thread(process_group.members, self._mark))
        finally:
            await asyncio.to_thread(self._end, guard)

    async def _started(self) -> bool:
        """Start the ranks; ``False`` if stopped while they wait for the other hosts."""
        build = asyncio.ensure_future(asyncio.to_thread(self._build))
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({build, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not build.done():
            await asyncio.to_thread(process_group.end, self._mark)
            await asyncio.gather(build, return_exceptions=True)
            return False
        build.result()
        return True

    def _build(self) -> None:
        config = make_config(self._options, self._runner)
        try:
            with process_group.marked(self._mark):
                self._executor = MultiprocExecutor(config, monitor_workers=False)
        except PromptmillError:
            raise
        except Exception as error:
            raise EngineDead(f"the ranks did not start: {error}; see their log above") from error
        quiet_loggers()

    async def _watch(self, pids: Sequence[int]) -> None:
        hosts = self._options.hosts
        log.info("ranks_ready", host=hosts.node_rank, ranks=len(pids))
        self.joined.set()
        first = asyncio.create_task(_end_of(hosts.master_addr, hosts.master_port))
        try:
            while not self._stop.is_set():
                if first.done():
                    raise EngineDead(f"the first rank, on {hosts.master_addr}, has exited")
                if lost := [pid for pid in pids if not process_group.lives(pid, self._mark)]:
                    raise EngineDead(
                        f"the rank in process {lost[0]} has exited, so the others of its group "
                        "are stopped"
                    )
                with suppress(TimeoutError):
                    async with asyncio.timeout(WATCH_INTERVAL_S):
                        await self._stop.wait()
        finally:
            first.cancel()

    def _end(self, guard: subprocess.Popen[bytes]) -> None:
        process_group.end(self._mark, process_group.segments(self._mark))
        process_group.stop_guard(guard)


async def _end_of(host: str, port: int) -> None:
    """Return when the connection to this address ends; nothing is sent over it."""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            await reader.read()
        finally:
            writer.close()
