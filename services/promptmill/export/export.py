"""An export: the selected records of one table version, in a trainer's format."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import orjson

from promptmill.export import card, summary
from promptmill.export.folder import MANIFEST, appearing, file_format, format_by_name
from promptmill.export.formats import FORMATS, TrainerFormat
from promptmill.export.formats.format import FileFormat
from promptmill.export.rows import OwnRows, RowSource, TrainerRows
from promptmill.export.selection import Selection
from promptmill.export.splits import TRAIN, VALIDATION, ShardedFiles, WrittenFile
from promptmill.lake.reader import Snapshot
from promptmill.runtime.errors import Misconfigured

OWN: Final = "records"
"""The name of the format that writes records as they are in the table."""

SHARD_BYTES: Final = 512 << 20


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """The settings of an export.

    Attributes:
        out: a file, if its name ends with a known suffix, or a folder with a manifest and a card.
        trainer: name of the format; see :data:`promptmill.export.formats.FORMATS`.
        form: format of the files; ``None`` means that of the name of ``out``, or JSON lines.
        selection: the records to export.
        columns: the columns to export of promptmill's own rows, or to add to a trainer's.
        validation: the share of the prompts that go to the split ``validation``.
        shard_bytes: the size after which a file of a folder is complete.
        verifier: see :class:`promptmill.export.formats.Context`.
        licence: identifier for the dataset card.
        title: title of the dataset card; the folder's name by default.
        replace: whether an earlier export's folder may be replaced.
    """

    out: Path
    trainer: str = OWN
    form: FileFormat | None = None
    selection: Selection = dataclasses.field(default_factory=Selection)
    columns: tuple[str, ...] = ()
    validation: float = 0.0
    shard_bytes: int = SHARD_BYTES
    verifier: str = "promptmill"
    licence: str | None = None
    title: str | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """The result of an export.

    Attributes:
        out: the file or folder that was written.
        form: the format of the files.
        manifest: counts, digests and provenance, as in the folder's ``manifest.json``.
    """

    out: Path
    form: FileFormat
    manifest: Mapping[str, Any]

    @property
    def rows(self) -> int:
        """The number of rows in all splits."""
        return sum(split["rows"] for split in self.manifest["splits"].values())

    @property
    def version(self) -> int:
        """The version of the table."""
        return int(self.manifest["table"]["version"])

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``export --json`` prints."""
        return {
            "out": str(self.out),
            "format": self.form,
            "rows": self.rows,
            "table_version": self.version,
            "manifest": self.manifest,
        }


def export(store: str, settings: ExportSettings) -> Exported:
    """Write the selected records of the table; the same version gives the same bytes.

    Args:
        store: URI of the folder of the tables.
        settings: what to write, and where.

    Raises:
        Misconfigured: a setting contradicts the table, the format or the files.
        Unavailable: the store does not answer.
    """
    plan = planned(store, settings)
    form, files, source, snapshot = plan.form, plan.files, plan.source, plan.snapshot
    with appearing(settings.out, replace=settings.replace) as folder:
        found = summary.ExportSummary()
        written = _write(folder, settings, files, source, plan.selection, snapshot, found)
        manifest = _manifest(settings, files, source, snapshot, found, written)
        if format_by_name(settings.out) is None:
            _describe(folder, settings, form, manifest, written)
    return Exported(settings.out, files, manifest)


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """The settings of an export, checked against the table.

    Attributes:
        form: the trainer's format; ``None`` for promptmill's own rows.
        files: the format of the files.
        selection: the records to export.
        snapshot: the version of the table.
        source: the conversion of records to rows.
    """

    form: TrainerFormat | None
    files: FileFormat
    selection: Selection
    snapshot: Snapshot
    source: RowSource


def planned(
    store: str, settings: ExportSettings, written: Mapping[str, int] = MappingProxyType({})
) -> ExportPlan:
    """Check the settings of an export against the table.

    Args:
        store: URI of the folder of the tables.
        settings: what to write, and where.
        written: the number of rows that each split has already.

    Raises:
        Misconfigured: a setting contradicts the table, the format or the files.
        Unavailable: the store does not answer.
    """
    form = _chosen(settings.trainer)
    files = file_format(settings.out, settings.form)
    _check(settings, form, files)
    selection = _of_kinds(settings.selection, form)
    snapshot = selection.open(store)
    source: RowSource = (
        OwnRows(snapshot.schema, settings.columns)
        if form is None
        else TrainerRows(form, snapshot.schema, settings.columns, settings.verifier, written)
    )
    return ExportPlan(form, files, selection, snapshot, source)


def _write(
    folder: Path,
    settings: ExportSettings,
    files: FileFormat,
    source: RowSource,
    selection: Selection,
    snapshot: Snapshot,
    found: summary.ExportSummary,
) -> dict[str, list[WrittenFile]]:
    """Write the data, and return the files of each split."""
    single = format_by_name(settings.out) is not None
    size = 1 << 62 if single else settings.shard_bytes
    names = (TRAIN, VALIDATION) if settings.validation else (TRAIN,)
    splits = {name: ShardedFiles(folder, name, files, source.schema, size) for name in names}
    columns = list(dict.fromkeys((*source.columns, *summary.COLUMNS)))
    for batch in selection.batches(snapshot, columns):
        found.add(batch)
        source.write(batch, splits, settings.validation)
    return {name: split.close() for name, split in splits.items()}


def _manifest(
    settings: ExportSettings,
    files: FileFormat,
    source: RowSource,
    snapshot: Snapshot,
    found: summary.ExportSummary,
    written: Mapping[str, list[WrittenFile]],
) -> dict[str, Any]:
    """Return everything that is needed to verify the files or to write them again."""
    chosen = settings.selection
    return {
        "format": settings.trainer,
        "file_format": files,
        "columns": source.schema.names,
        "table": {"name": "records", "id": snapshot.table_id, "version": snapshot.version},
        "selection": {"run": chosen.run, "kinds": list(chosen.kinds), "where": chosen.where},
        "validation_share": settings.validation,
        "licence": settings.licence,
        "splits": {name: described(shards) for name, shards in written.items()},
        "records_without_rows": source.without_rows,
        **found.as_json(),
    }


def described(files: Sequence[WrittenFile]) -> dict[str, Any]:
    """Return the files of a split as they are listed in the manifest."""
    return {
        "rows": sum(file.rows for file in files),
        "files": [dataclasses.asdict(file) for file in files],
    }


def _describe(
    folder: Path,
    settings: ExportSettings,
    form: TrainerFormat | None,
    manifest: Mapping[str, Any],
    written: Mapping[str, list[WrittenFile]],
) -> None:
    """Write the manifest, the dataset card and the trainer's companion files."""
    title = settings.title or settings.out.name
    (folder / "README.md").write_text(card.dataset_card(title, form, manifest))
    for name, content in documents(form, manifest, written).items():
        (folder / name).write_bytes(content)


def documents(
    form: TrainerFormat | None,
    manifest: Mapping[str, Any],
    written: Mapping[str, Sequence[WrittenFile]],
) -> dict[str, bytes]:
    """Return the manifest and the trainer's companion files by name."""
    found: dict[str, Any] = {MANIFEST: manifest}
    if form is not None and form.companions is not None:
        paths = {name: [file.path for file in shards] for name, shards in written.items()}
        found |= form.companions(paths)
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {name: orjson.dumps(content, option=option) for name, content in found.items()}


def _chosen(name: str) -> TrainerFormat | None:
    if name != OWN and name not in FORMATS:
        raise Misconfigured(
            f"--for {name}: there is no such format; choose from {OWN}, {', '.join(FORMATS)}"
        )
    return FORMATS.get(name)


def _check(settings: ExportSettings, form: TrainerFormat | None, files: FileFormat) -> None:
    single = format_by_name(settings.out) is not None
    if form is not None and files not in form.files:
        raise Misconfigured(
            f"--format {files}: {form.trainer} does not read it; choose from "
            f"{', '.join(form.files)}"
        )
    if single and settings.validation:
        raise Misconfigured(
            f"--validation {settings.validation} needs two files, but --out {settings.out} is the "
            "name of one; give the name of a folder"
        )
    if single and form is not None and form.companions is not None:
        raise Misconfigured(
            f"{form.name} also writes companion files, but --out {settings.out} is the name of "
            "one file; give the name of a folder"
        )


def _of_kinds(selection: Selection, form: TrainerFormat | None) -> Selection:
    if form is None:
        return selection
    if other := [kind for kind in selection.kinds if kind not in form.kinds]:
        raise Misconfigured(
            f"--kind {', '.join(other)}: {form.name} has rows only for records of kind "
            f"{' or '.join(form.kinds)}"
        )
    return dataclasses.replace(selection, kinds=selection.kinds or form.kinds)
