"""``promptmill export --follow``: writing complete files while the table grows.

The rows since the last file are in drafts. Drafts are sealed in these steps. If the process is
killed between two of them, it finishes the rest at its next start:

1. The drafts are completed on disk.
2. The journal records their future names and the position after their rows. From now on they belong
   to the export.
3. The drafts are renamed.
4. The manifest lists them.

Rows beyond the journal's position are read and written again, so no row is duplicated or missing.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from filelock import FileLock, Timeout

from promptmill.export.export import ExportSettings, described, documents, planned
from promptmill.export.folder import format_by_name
from promptmill.export.splits import DATA, TRAIN, VALIDATION, ShardedFiles, WrittenFile
from promptmill.runtime.errors import Misconfigured
from promptmill.training.following import Following
from promptmill.training.source import StreamSource
from promptmill.training.stream import RecordStream

JOURNAL: Final = ".follow.json"
DRAFTS: Final = ".drafts"
LOCK: Final = ".lock"
BATCH_ROWS: Final = 1_000
FIXED: Final = ("format", "file_format", "columns", "selection", "validation_share", "table")
"""The settings that a continued export cannot change."""


@dataclass(frozen=True, slots=True)
class Journal:
    """The record of the files that belong to the export.

    Attributes:
        manifest: the manifest, with the files of each split.
        state: the position after their rows.
        drafts: the path of each draft, by the path that its file gets.
    """

    manifest: dict[str, Any]
    state: dict[str, Any]
    drafts: dict[str, str]

    def files(self, split: str) -> list[WrittenFile]:
        """Return the files of a split."""
        found = self.manifest["splits"].get(split, {"files": []})["files"]
        return [WrittenFile(**file) for file in found]


def export_growing(
    store: str, settings: ExportSettings, *, seal_s: float, following: Following
) -> Mapping[str, Any]:
    """Write the selected records and those that arrive later, until ``following`` ends.

    Args:
        store: URI of the folder of the tables.
        settings: what to write, and the folder; an export that an earlier call began is continued.
        seal_s: seconds after which rows are sealed in a complete file.
        following: the conditions under which the export ends.

    Returns:
        The manifest.

    Raises:
        Misconfigured: a setting contradicts the table, the format or the folder.
        Unavailable: the store does not answer.
    """
    out = settings.out
    _check(settings)
    try:
        out.mkdir(exist_ok=True)
        with FileLock(out / LOCK, blocking=False):
            return _Export(store, settings, following).write(seal_s)
    except Timeout as error:
        raise Misconfigured(
            f"another process exports to {out}; end it, or choose another --out"
        ) from error
    except OSError as error:
        raise Misconfigured(f"cannot write {out}: {error}; choose another --out") from error


def _check(settings: ExportSettings) -> None:
    out = settings.out
    if format_by_name(out) is not None:
        raise Misconfigured(
            f"--follow writes one file after another, but --out {out} is the name of one file; "
            "give the name of a folder"
        )
    if settings.selection.version is not None:
        raise Misconfigured(
            f"--follow reads all versions of the table, but --version is "
            f"{settings.selection.version}; omit one of them"
        )
    found = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if JOURNAL not in found and found - {LOCK, f"{JOURNAL}.part"}:
        raise Misconfigured(
            f"{out} exists, and no export with --follow has begun it; choose another --out"
        )


class _Export:
    """One export, which continues from its journal."""

    def __init__(self, store: str, settings: ExportSettings, following: Following) -> None:
        self._out = settings.out
        self._settings = settings
        journal = self._read_journal()
        rows = {} if journal is None else _rows(journal.manifest)
        self._plan = plan = planned(store, settings, rows)
        partitions = plan.snapshot.partitions
        source = StreamSource(
            store=store,
            table_id=plan.snapshot.table_id,
            schema=plan.snapshot.schema,
            origin=dict.fromkeys(range(partitions), 0),
            selection=plan.selection,
            trainer=settings.trainer,
            weight=None,
            max_staleness=None,
            following=following,
            limit=None,
        )
        self._stream = RecordStream(source, range(partitions))
        self._journal = self._new_journal() if journal is None else journal
        if journal is None:
            self._write_journal()
        self._splits: dict[str, ShardedFiles] = {}
        self._since = 0.0
        """The time when the first unsealed row was written."""

    def write(self, seal_s: float) -> Mapping[str, Any]:
        self._continue()
        source, validation = self._plan.source, self._settings.validation

        def seal_if_due() -> None:
            if self._splits and time.monotonic() - self._since >= seal_s:
                self._seal()

        for table in self._stream.windows((*source.columns, "prompt_id"), seal_if_due):
            seal_if_due()
            for batch in table.to_batches(max_chunksize=BATCH_ROWS):
                source.write(batch, self._drafts(), validation)
        if self._splits:
            self._seal()
        return self._journal.manifest

    def _continue(self) -> None:
        """Publish the files that an earlier process sealed, and delete its unsealed drafts."""
        earlier, now = self._journal.manifest, self._new_journal().manifest
        if different := [name for name in FIXED if earlier[name] != now[name]]:
            name = different[0]
            raise Misconfigured(
                f"{self._out} was begun with {name} {earlier[name]!r}, and now it is "
                f"{now[name]!r}; repeat the options of the first call, or choose another --out"
            )
        self._stream.load_state_dict(self._journal.state)
        self._publish()

    def _drafts(self) -> dict[str, ShardedFiles]:
        if not self._splits:
            names = (TRAIN, VALIDATION) if self._settings.validation else (TRAIN,)
            folder, plan = self._out / DRAFTS, self._plan
            (folder / DATA).mkdir(parents=True)
            self._splits = {
                name: ShardedFiles(
                    folder, name, plan.files, plan.source.schema, self._settings.shard_bytes
                )
                for name in names
            }
            self._since = time.monotonic()
        return self._splits

    def _seal(self) -> None:
        """Complete the drafts, and record them in the journal as part of the export."""
        drafts: dict[str, str] = {}
        splits: dict[str, Any] = {}
        for name, split in self._splits.items():
            files = self._journal.files(name)
            for draft in split.close():
                if draft.rows:
                    path = f"{DATA}/{name}-{len(files):05d}.{self._plan.files}"
                    drafts[path] = f"{DRAFTS}/{draft.path}"
                    files.append(dataclasses.replace(draft, path=path))
            splits[name] = described(files)
        manifest = self._journal.manifest | {"splits": splits}
        self._journal = Journal(manifest, dict(self._stream.state_dict()), drafts)
        self._write_journal()
        self._publish()

    def _write_journal(self) -> None:
        _replace(self._out / JOURNAL, orjson.dumps(dataclasses.asdict(self._journal)))

    def _publish(self) -> None:
        """Rename the sealed drafts, and list them in the manifest."""
        (self._out / DATA).mkdir(exist_ok=True)
        for path, draft in self._journal.drafts.items():
            if (self._out / draft).exists() and not (self._out / path).exists():
                (self._out / draft).rename(self._out / path)
        shutil.rmtree(self._out / DRAFTS, ignore_errors=True)
        self._splits = {}
        written = {name: self._journal.files(name) for name in self._journal.manifest["splits"]}
        found = documents(self._plan.form, self._journal.manifest, written)
        for name, content in found.items():
            _replace(self._out / name, content)

    def _read_journal(self) -> Journal | None:
        try:
            return Journal(**orjson.loads((self._out / JOURNAL).read_bytes()))
        except FileNotFoundError:
            return None

    def _new_journal(self) -> Journal:
        plan, settings = self._plan, self._settings
        chosen = plan.selection
        manifest = {
            "format": settings.trainer,
            "file_format": plan.files,
            "columns": plan.source.schema.names,
            "table": {"name": "records", "id": plan.snapshot.table_id},
            "selection": {"run": chosen.run, "kinds": list(chosen.kinds), "where": chosen.where},
            "validation_share": settings.validation,
            "licence": settings.licence,
            "splits": {},
        }
        return Journal(manifest, dict(self._stream.state_dict()), {})


def _rows(manifest: Mapping[str, Any]) -> dict[str, int]:
    return {name: split["rows"] for name, split in manifest["splits"].items()}


def _replace(path: Path, content: bytes) -> None:
    """Replace a file atomically, so that every reader sees the old or the new content."""
    draft = path.with_name(f"{path.name}.part")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
