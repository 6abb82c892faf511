"""TLS, logins and Sentinel on real servers, and what is said about those that refuse."""

from __future__ import annotations

import asyncio
import ssl
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio.connection import AbstractConnection

from promptmill.cli.pipeline import redis_version
from promptmill.devstack.ports import LOOPBACK
from promptmill.runtime.errors import Misconfigured, Unavailable
from promptmill.runtime.redis_client import check_server, connect
from support.certificates import Authority
from support.redis_servers import (
    PASSWORD,
    USER,
    WATCHER_PASSWORD,
    OwnRedis,
    Watched,
    behind_tls,
    own_redis,
    watched_redis,
)

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

LOGIN = f"{USER}:{PASSWORD}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    with own_redis(tmp_path_factory.mktemp("redis") / "one") as running:
        yield running


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched_redis(tmp_path_factory.mktemp("watched"), sentinels=1) as running:
        yield running


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


def server_context(authority: Authority, *, asks: bool = False) -> ssl.SSLContext:
    """The context of a server, which may ask for a client's certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.file)
    context.load_cert_chain(authority.certificate("server"))
    context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
    return context


async def works(url: str) -> None:
    """Both clients of promptmill reach the server and may do their work."""
    await check_server(url)
    assert "valkey" in (await redis_version(url)).lower() or "redis" in await redis_version(url)
    redis = connect(url, timeout_s=60)
    try:
        assert await redis.set("promptmill:t", 1)
        assert await redis.delete("promptmill:t") == 1
    finally:
        await redis.aclose()


async def refused(url: str) -> str:
    """What both clients say, which must not have a password in it."""
    said = []
    for ask in (check_server, redis_version):
        with pytest.raises(Misconfigured) as refusal:
            await ask(url)
        shown = "".join(traceback.format_exception(refusal.value))
        assert PASSWORD not in shown
        assert WATCHER_PASSWORD not in shown
        assert "planted" not in shown
        said.append(str(refusal.value))
    return "\n".join(said)


async def test_a_server_with_a_certificate_of_our_authority_is_reached(
    server: OwnRedis, authority: Authority
) -> None:
    async with behind_tls(server.port, server_context(authority)) as port:
        await works(f"rediss://{LOGIN}@{LOOPBACK}:{port}/0?ssl_ca_certs={authority.file}")


async def test_a_client_shows_its_certificate(server: OwnRedis, authority: Authority) -> None:
    own = authority.certificate("client")
    files = f"ssl_ca_certs={authority.file}&ssl_certfile={own}&ssl_keyfile={own}"
    async with behind_tls(server.port, server_context(authority, asks=True)) as port:
        await works(f"rediss://{LOGIN}@{LOOPBACK}:{port}/0?{files}")


async def test_another_authority_is_an_error_that_names_the_parameter(
    server: OwnRedis, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other").file
    async with behind_tls(server.port, server_context(authority)) as port:
        error = await refused(f"rediss://{LOGIN}@{LOOPBACK}:{port}/0?ssl_ca_certs={other}")
    assert error.count("ssl_ca_certs=FILE") == 2
    assert error.count("PROMPTMILL_REDIS") == 2


async def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.pem"
    error = await refused(f"rediss://{LOGIN}@{LOOPBACK}:1/0?ssl_ca_certs={missing}")
    assert str(missing) in error


@pytest.mark.parametrize("login", [f"{USER}:planted-wrong@", ""])
async def test_a_wrong_login_names_the_setting(server: OwnRedis, login: str) -> None:
    error = await refused(f"redis://{login}{LOOPBACK}:{server.port}/0")
    assert error.count("PROMPTMILL_REDIS") == 2
    assert "password" in error


async def test_sentinel_names_the_primary(watched: Watched) -> None:
    await works(watched.url)


async def test_a_wrong_login_at_sentinel_names_the_setting(watched: Watched) -> None:
    error = await refused(watched.url.replace(WATCHER_PASSWORD, "planted-wrong"))
    assert "sentinel_password" in error


async def test_a_name_that_sentinel_does_not_know_is_an_error_that_may_pass(
    watched: Watched,
) -> None:
    """While no primary is elected, Sentinel answers in the same way."""
    with pytest.raises(Unavailable, match=r"'other'.*correct the hosts or the name") as error:
        await check_server(watched.url.replace("/main/", "/other/"))
    assert "planted" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_cancellation_while_a_command_is_sent_is_not_lost(
    server: OwnRedis, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Ctrl-C just before or after the data is sent; ``asyncio.wait_for`` loses both."""
    send = AbstractConnection._send_packed_command
    is_armed = False

    async def cancelled_when_sent(connection: AbstractConnection, command: list[bytes]) -> None:
        await send(connection, command)
        if is_armed and moment == "after":
            asking.cancel()

    monkeypatch.setattr(AbstractConnection, "_send_packed_command", cancelled_when_sent)
    async with connect(f"redis://{LOGIN}@{LOOPBACK}:{server.port}/0", 60) as client:

        async def ask() -> None:
            nonlocal is_armed
            await client.set("promptmill:key", "old")
            is_armed = True
            if moment == "before":
                asking.cancel()
            await client.get("promptmill:key")

        asking = asyncio.create_task(ask())
        with pytest.raises(asyncio.CancelledError):
            await asking
        is_armed = False
        assert await client.get("promptmill:other") is None  # the answer to its own question
