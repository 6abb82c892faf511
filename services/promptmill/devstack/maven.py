"""Downloads from Maven repositories, through jgo.

The repositories are those of the user's jgo configuration on top of jgo's default;
``PROMPTMILL_MAVEN_REPOSITORY`` (a URL) replaces them all.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlsplit

from promptmill.runtime.errors import Misconfigured

REPOSITORY_VARIABLE = "PROMPTMILL_MAVEN_REPOSITORY"

_CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# Before the second and the third attempt; jgo by itself waits out "429 Too Many Requests".
_PAUSES_S = (0.5, 2.0)
_TIMEOUT_S = 15


def path(group: str, artifact: str, version: str) -> Path:
    """Where a Maven repository keeps a jar, below the repository's root."""
    return Path(*group.split("."), artifact, version, f"{artifact}-{version}.jar")


def user_repository() -> Path:
    """The user's own Maven repository, which may hold the jars already."""
    return Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")


def repositories() -> dict[str, str]:
    """Name and URL of each repository that is asked, in order."""
    if url := os.environ.get(REPOSITORY_VARIABLE):
        return {REPOSITORY_VARIABLE: url.rstrip("/")}
    return _configured_repositories()


def describe_repositories() -> str:
    """The repositories for messages, without user names or passwords."""
    hosts = [urlsplit(url).hostname or "no host" for url in repositories().values()]
    return ", ".join(hosts)


@contextmanager
def system_certificates() -> Iterator[None]:
    """Trusts, inside, what the machine trusts, as pip does: a company's proxy may sign anew.

    jgo downloads through requests, which brings certificates of its own and takes others from
    the environment only; what the user has set there stays.
    """
    paths = ssl.get_default_verify_paths()
    trusted = paths.cafile or (paths.capath if _has_files(paths.capath) else None)
    if trusted is None or any(name in os.environ for name in _CERTIFICATE_VARIABLES):
        yield
        return
    os.environ[_CERTIFICATE_VARIABLES[0]] = trusted
    try:
        yield
    finally:
        del os.environ[_CERTIFICATE_VARIABLES[0]]


def download(group: str, artifact: str, version: str, staging: Path) -> Path:
    """Fetches one jar into a folder of its own below ``staging``.

    Raises:
        Misconfigured: jgo is not installed, or no repository gave the jar.
    """
    failure: Exception | None = None
    for pause_s in (0, *_PAUSES_S):
        time.sleep(pause_s)
        try:
            return _resolve(group, artifact, version, Path(mkdtemp(dir=staging)))
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
            failure = error
    raise Misconfigured(_not_downloaded(f"{artifact}-{version}.jar", failure))


def _has_files(folder: str | None) -> bool:
    return folder is not None and any(Path(folder).iterdir())


def _resolve(group: str, artifact: str, version: str, folder: Path) -> Path:
    """One attempt, in a folder of its own: jgo takes a half-written file for a finished one."""
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=folder, remote_repos=repositories(), timeout=_TIMEOUT_S)
    jar: Path = context.project(group, artifact).at_version(version).artifact().resolve()
    return jar


@cache
def _configured_repositories() -> dict[str, str]:
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
    except ImportError as error:
        raise Misconfigured(
            "the local stack needs the package jgo to fetch Apache Kafka; "
            "install it with: pip install 'promptmill[local]'"
        ) from error
    configured: dict[str, str] = GlobalSettings.load().repositories
    return {"central": MAVEN_CENTRAL_URL, **configured}


def _not_downloaded(filename: str, error: Exception | None) -> str:
    # The error's text is left out: jgo and requests put URLs into it, with any password.
    return (
        f"cannot download {filename} from {describe_repositories()} ({type(error).__name__}); the "
        "first start needs a network connection. Behind a proxy, set HTTPS_PROXY and "
        f"REQUESTS_CA_BUNDLE; for a mirror, set {REPOSITORY_VARIABLE} to its URL; without a "
        "network, copy the jar folder of another machine (see 'promptmill doctor')"
    )
