"""Apache Kafka's jars: locked by SHA-256, downloaded once, verified at every start."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from promptmill.devstack import maven
from promptmill.devstack.progress import OnProgress, Progress, ignore
from promptmill.runtime.errors import Misconfigured

THREADS = 8

_LINE = re.compile(r"([\w.-]+):([\w.-]+):([\w.-]+) (\d+) ([0-9a-f]{64})")


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
        """The file's name, the same in a Maven repository and in our cache."""
        return f"{self.artifact}-{self.version}.jar"

    def is_at(self, path: Path) -> bool:
        """Whether exactly the locked bytes are in the file."""
        try:
            if path.stat().st_size != self.size:
                return False
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


def parse_lock(text: str) -> tuple[Jar, ...]:
    """The jars of a lock file.

    Raises:
        Misconfigured: a line that is neither a comment nor a jar.
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
    """The jars that this version of promptmill runs Kafka with."""
    return parse_lock(files(__package__).joinpath("kafka_jars.lock").read_text("utf-8"))


def kafka_version(jars: Iterable[Jar]) -> str:
    """The broker's version among the locked jars."""
    return next(jar.version for jar in jars if jar.artifact.startswith("kafka_2."))


def cache_dir() -> Path:
    """Where the jars are kept between starts (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "promptmill" / f"kafka-{kafka_version(locked_jars())}"


def missing_jars(directory: Path, jars: Sequence[Jar]) -> tuple[Jar, ...]:
    """The jars that are absent from the folder or differ from the lock.

    All bytes are hashed: 45 MB take about 0.1 s, so a stamp file would save nothing.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        intact = pool.map(lambda jar: jar.is_at(directory / jar.filename), jars)
        return tuple(jar for jar, ok in zip(jars, intact, strict=True) if not ok)


def resolve_jars(
    directory: Path | None = None,
    jars: Sequence[Jar] | None = None,
    on_progress: OnProgress = ignore,
) -> tuple[Path, ...]:
    """The class path: every locked jar, downloaded when it is missing, and verified.

    Raises:
        Misconfigured: the folder cannot be written, no repository can be reached, or what it
            sent is not what the lock wants; the message has the remedy.
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
            _install(absent, directory, on_progress)
    except OSError as error:
        raise Misconfigured(
            f"cannot keep Kafka's jars in {directory}: {error}; free disk space, or set "
            "XDG_CACHE_HOME to a writable folder"
        ) from error
    return tuple(directory / jar.filename for jar in jars)


def _install(jars: Sequence[Jar], directory: Path, on_progress: OnProgress) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=directory, prefix=".download-") as staging,
        maven.system_certificates(),
    ):
        _download_all(jars, directory, Path(staging), on_progress)


def _download_all(
    jars: Sequence[Jar], directory: Path, staging: Path, on_progress: OnProgress
) -> None:
    total, done = sum(jar.size for jar in jars), 0
    on_progress(Progress("downloading Apache Kafka", done, total, "bytes"))
    pool = ThreadPoolExecutor(THREADS)
    try:
        running: dict[Future[None], Jar] = {
            pool.submit(_install_one, jar, directory, staging): jar for jar in jars
        }
        for future in as_completed(running):
            future.result()
            done += running[future].size
            on_progress(Progress("downloading Apache Kafka", done, total, "bytes"))
    finally:
        pool.shutdown(cancel_futures=True)


def _install_one(jar: Jar, directory: Path, staging: Path) -> None:
    """Puts one verified jar in place; the rename is atomic, so two installers do no harm."""
    local = maven.user_repository() / maven.path(jar.group, jar.artifact, jar.version)
    if jar.is_at(local):
        source = staging / jar.filename
        shutil.copyfile(local, source)
    else:
        source = maven.download(jar.group, jar.artifact, jar.version, staging)
    if not jar.is_at(source):
        _refuse(jar, source)
    source.replace(directory / jar.filename)


def _refuse(jar: Jar, source: Path) -> None:
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    raise Misconfigured(
        f"{jar.filename} from {maven.describe_repositories()} has {source.stat().st_size} bytes "
        f"and SHA-256 {found}, but the lock expects {jar.size} bytes and {jar.sha256}; a proxy or "
        f"mirror altered the file: try again, or set {maven.REPOSITORY_VARIABLE} to one that does "
        "not"
    )
