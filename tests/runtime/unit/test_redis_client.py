"""Addresses of Redis: what they mean, what is refused, and that no message shows a password."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

from promptmill.runtime import redis_client
from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.redis_client import (
    acl_line,
    connect,
    connection_pool,
    has_password,
    place_of,
    refusal,
    refuse_cluster,
    refuse_password_flags,
    without_password,
)

PLANTED = "hunter2"


def options(url: str) -> dict[str, object]:
    found: dict[str, object] = connection_pool(url, 1.0).connection_kwargs
    return found


def test_a_url_gives_the_user_the_database_and_tls(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    found = options(f"rediss://mill:{PLANTED}@cache:6380/3?ssl_ca_certs={authority}")
    assert (found["host"], found["port"], found["db"]) == ("cache", 6380, 3)
    assert (found["username"], found["password"]) == ("mill", PLANTED)
    assert found["ssl_ca_certs"] == str(authority)


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_sentinel_is_asked_for_the_primary(scheme: str) -> None:
    pool = connection_pool(
        f"{scheme}+sentinel://mill:{PLANTED}@one:26380,two/main/2"
        "?sentinel_username=watch&sentinel_password=other",
        1.0,
    )
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "main"
    assert (pool.connection_kwargs["username"], pool.connection_kwargs["db"]) == ("mill", 2)
    asked = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in asked] == [("one", 26380), ("two", 26379)]
    assert {(each["username"], each["password"]) for each in asked} == {("watch", "other")}
    assert ("Ssl" in pool.connection_class.__name__ or "SSL" in pool.connection_class.__name__) is (
        scheme == "rediss"
    )


@pytest.mark.parametrize(
    "url",
    [
        f"redis://mill:{PLANTED}/x@cache:6379/0",
        f"redis://mill:{PLANTED}@cache:port/0",
        f"http://mill:{PLANTED}@cache",
        f"redis+sentinel://mill:{PLANTED}@/main",
        f"redis+sentinel://mill:{PLANTED}@one:26379",
        f"rediss://mill:{PLANTED}@cache?ssl_cert_reqs=none",
    ],
)
def test_an_address_that_is_refused_is_shown_without_its_password(url: str) -> None:
    with pytest.raises(Misconfigured, match="PROMPTMILL_REDIS") as refusal:
        connection_pool(url, 1.0)
    assert PLANTED not in str(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--redis", f"redis://:{PLANTED}@cache:6379/0", "status"],
        [f"--redis=redis://mill:{PLANTED}@cache:6379/0"],
        ["run", "filter", "--redis", f"redis://mill:{PLANTED}@cache"],
        ["--store", f"s3://key:{PLANTED}@bucket/folder"],
    ],
)
def test_a_password_on_the_command_line_is_refused_with_the_remedy(arguments: list[str]) -> None:
    with pytest.raises(Misconfigured, match="in the environment \\(PROMPTMILL_") as refusal:
        refuse_password_flags(arguments)
    assert PLANTED not in str(refusal.value)


def test_other_arguments_are_nobody_s_business() -> None:
    refuse_password_flags(["--redis", "redis://mill@cache:6379/0", "publish", "a:b@c.jsonl"])
    refuse_password_flags(["publish", "https://user:name@host/file.jsonl", "--run", "x"])


def test_messages_name_the_place_alone() -> None:
    url = f"redis://mill:{PLANTED}@cache:6379/0?sentinel_password={PLANTED}"
    assert without_password(url) == "redis://mill:***@cache:6379/0?sentinel_password=***"
    assert place_of(url) == "cache:6379"
    assert place_of("unix:///run/redis.sock?db=1") == "/run/redis.sock"
    assert has_password(url)
    assert not has_password("redis://cache:6379/0")


def test_a_cluster_is_refused_with_the_alternatives() -> None:
    refuse_cluster(b"# Cluster\r\ncluster_enabled:0\r\n")
    with pytest.raises(Misconfigured, match=r"Redis Cluster.*Sentinel"):
        refuse_cluster(b"# Cluster\r\ncluster_enabled:1\r\n")


def test_the_line_of_an_acl_file_begins_with_nothing_allowed() -> None:
    line = acl_line("mill", PLANTED)
    assert line.startswith(f"user mill on >{PLANTED} resetchannels ~promptmill:* ~{{*}}:* -@all +")
    assert "+config" not in line


def test_the_rights_cover_the_commands_of_every_script() -> None:
    scripts = list(Path(redis_client.__file__).parents[1].rglob("*.lua"))
    called = {
        name.lower()
        for script in scripts
        for name in re.findall(r"call\(\s*['\"](\w+)", script.read_text())
    }
    assert {"hvals", "hset"} <= called
    assert called <= set(redis_client.COMMANDS)


def test_an_alert_about_certificates_names_those_of_the_client() -> None:
    alert = "Error 1. [SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required"
    assert "?ssl_certfile=FILE&ssl_keyfile=FILE" in refusal(RedisConnectionError(alert))
    assert refusal(RedisConnectionError("Connection reset by peer")) == ""


def test_a_client_that_is_closed_closes_its_connections() -> None:
    assert connect("redis://cache:6379/0").auto_close_connection_pool
