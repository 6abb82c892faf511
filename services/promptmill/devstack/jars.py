"""Apache Kafka's jars: locked by SHA-256, downloaded once, verified at every start.

They are downloaded from Maven Central, or from the mirror in ``PROMPTMILL_MAVEN_REPOSITORY``. Jars
in the user's own Maven repository are copied from there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import ssl
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from platformdirs import user_cache_path

from promptmill.runtime.errors import Misconfigured

if TYPE_CHECKING:
    import pooch

REPOSITORY_VARIABLE = "PROMPTMILL_MAVEN_REPOSITORY"

_MAVEN_CENTRAL = "https://repo1.maven.org/maven2"
_CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_THREADS = 8
_RETRIES = 2  # after pauses of one and two seconds
_TIMEOUT_S = 15
_CHUNK_BYTES = 64 * 1024

_LINE = re.compile(r"([\w.-]+):([\w.-]+):([\w.-]+) (\d+) ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """The progress of a slow step of a start.

    Attributes:
        step: the description of the step for users.
        done: the amount that is done, in ``unit``.
        total: the total amount, in ``unit``.
    """

    step: str
    done: int
    total: int
    unit: Literal["bytes", "servers"]


OnProgress = Callable[[DownloadProgress], None]


def ignore(_: DownloadProgress) -> None:
    """Ignore the progress."""


@dataclass(frozen=True, slots=True)
class Jar:
    """A locked artifact.

    Attributes:
        size: bytes.
        sha256: hexadecimal digest of the whole file.
    """

    group: str
    artifact: str
    version: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """The file's name, which is the same in a Maven repository and in the cache."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def repository_path(self) -> str:
        """The path of the file in a Maven repository, relative to the repository's root."""
        return "/".join((*self.group.split("."), self.artifact, self.version, self.filename))

    def is_at(self, path: Path) -> bool:
        """Return whether the file has exactly the locked bytes."""
        try:
            if path.stat().st_size != self.size:
                return False
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


def parse_lock(text: str) -> tuple[Jar, ...]:
    """Parse the jars of a lock file.

    Raises:
        Misconfigured: a line is neither a comment nor a jar.
    """
    jars = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if not (match := _LINE.fullmatch(line)):
            raise Misconfigured(
                f"kafka_jars.lock line {number}: {line!r} is not 'group:artifact:version bytes "
                "sha256'; reinstall promptmill, or run scripts/lock-kafka-jars"
            )
        group, artifact, version, size, sha256 = match.groups()
        jars.append(Jar(group, artifact, version, int(size), sha256))
    return tuple(jars)


@cache
def locked_jars() -> tuple[Jar, ...]:
    """Return the jars with which this version of promptmill runs Kafka."""
    return parse_lock(files(__package__).joinpath("kafka_jars.lock").read_text("utf-8"))


def kafka_version(jars: Iterable[Jar]) -> str:
    """Return the version of the broker among the jars."""
    return next(jar.version for jar in jars if jar.artifact.startswith("kafka_2."))


def cache_dir() -> Path:
    """Return the folder of the jars, which is in the user's cache."""
    return user_cache_path("promptmill") / f"kafka-{kafka_version(locked_jars())}"


def missing_jars(directory: Path, jars: Sequence[Jar]) -> tuple[Jar, ...]:
    """Return the jars that are absent from the folder or differ from the lock.

    All bytes are hashed: 45 MB take about 0.1 s, so a stamp file would save nothing.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        intact = pool.map(lambda jar: jar.is_at(directory / jar.filename), jars)
        return tuple(jar for jar, ok in zip(jars, intact, strict=True) if not ok)


def resolve_jars(
    directory: Path | None = None,
    jars: Sequence[Jar] | None = None,
    on_progress: OnProgress = ignore,
) -> tuple[Path, ...]:
    """Return the class path of all locked jars, which are verified and downloaded if missing.

    Raises:
        Misconfigured: the folder cannot be written, the repository cannot be reached, or its files
            differ from the lock; the message names the remedy.
    """
    directory = directory or cache_dir()
    jars = locked_jars() if jars is None else jars
    if os.pathsep in str(directory):
        raise Misconfigured(
            f"the jar folder {directory} has a {os.pathsep!r} in its name, which a Java class "
            "path cannot hold; set XDG_CACHE_HOME to a folder without one"
        )
    try:
        if absent := missing_jars(directory, jars):
            directory.mkdir(parents=True, exist_ok=True)
            _download_all(absent, directory, on_progress)
    except OSError as error:
        raise Misconfigured(
            f"cannot keep Kafka's jars in {directory}: {error}; free disk space, or set "
            "XDG_CACHE_HOME to a writable folder"
        ) from error
    return tuple(directory / jar.filename for jar in jars)


def repository() -> str:
    """Return the URL of the Maven repository."""
    return (os.environ.get(REPOSITORY_VARIABLE) or _MAVEN_CENTRAL).rstrip("/")


def certificates() -> str | bool:
    """Return the trusted certificates for the repository, as the argument ``verify`` of requests.

    They are those of the machine, as with pip, because a company's proxy may replace certificates
    by its own, which the list of requests does not include. Variables that the user has set for
    requests take precedence.
    """
    if any(name in os.environ for name in _CERTIFICATE_VARIABLES):
        return True
    paths = ssl.get_default_verify_paths()
    return paths.cafile or (paths.capath if _has_files(paths.capath) else None) or True


def _has_files(folder: str | None) -> bool:
    return folder is not None and any(Path(folder).iterdir())


def _download_all(jars: Sequence[Jar], directory: Path, on_progress: OnProgress) -> None:
    total, done = sum(jar.size for jar in jars), 0
    store = _store(jars, directory)
    on_progress(DownloadProgress("downloading Apache Kafka", done, total, "bytes"))
    pool = ThreadPoolExecutor(_THREADS)
    try:
        running: dict[Future[None], Jar] = {pool.submit(_download, j, store): j for j in jars}
        for future in as_completed(running):
            future.result()
            done += running[future].size
            on_progress(DownloadProgress("downloading Apache Kafka", done, total, "bytes"))
    finally:
        pool.shutdown(cancel_futures=True)


def _store(jars: Iterable[Jar], directory: Path) -> pooch.Pooch:
    """Return the store that downloads into the folder and renames verified files."""
    try:
        import pooch
    except ImportError as error:
        raise Misconfigured(
            "the local stack needs the package pooch to download Apache Kafka; "
            "install it with: pip install 'promptmill[local]'"
        ) from error
    pooch.get_logger().setLevel("ERROR")  # it logs URLs, which may contain a password
    return pooch.Pooch(
        path=directory,
        base_url="",
        registry={jar.filename: f"sha256:{jar.sha256}" for jar in jars},
        urls={jar.filename: f"{repository()}/{jar.repository_path}" for jar in jars},
        retry_if_failed=_RETRIES,
    )


def _download(jar: Jar, store: pooch.Pooch) -> None:
    import requests
    from pooch import HTTPDownloader

    download = HTTPDownloader(timeout=_TIMEOUT_S, chunk_size=_CHUNK_BYTES, verify=certificates())
    own = _user_repository() / jar.repository_path

    def copy_or_download(url: str, output_file: str, pooch: Any) -> None:
        if jar.is_at(own):
            shutil.copyfile(own, output_file)
        else:
            download(url, output_file, pooch)

    try:
        store.fetch(jar.filename, downloader=copy_or_download)
    except requests.RequestException as error:
        raise Misconfigured(_not_downloaded(jar, error)) from None
    except ValueError as error:
        raise Misconfigured(
            f"{jar.filename} from {_host()} has other bytes than the lock expects ({jar.size} "
            f"bytes with SHA-256 {jar.sha256}); a proxy or mirror altered the file: try again, or "
            f"set {REPOSITORY_VARIABLE} to one that does not"
        ) from error


def _user_repository() -> Path:
    """Return the folder of the user's own Maven repository, which may contain the jars."""
    return Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")


def _host() -> str:
    """Return the host of the repository for messages, without user name and password."""
    return urlsplit(repository()).hostname or "no host"


def _not_downloaded(jar: Jar, error: Exception) -> str:
    # The error's text is omitted, because requests includes URLs, which may contain a password.
    return (
        f"cannot download {jar.filename} from {_host()} ({type(error).__name__}); the first start "
        "needs a network connection. Behind a proxy, set HTTPS_PROXY and REQUESTS_CA_BUNDLE; for "
        f"a mirror, set {REPOSITORY_VARIABLE} to its URL; without a network, copy the jar folder "
        "of another machine (see 'promptmill doctor')"
    )
