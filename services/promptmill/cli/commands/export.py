"""``promptmill export``: write records from the table as the files that a trainer reads."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

HELP = """Write the records of one table version to files, in a trainer's format or unchanged.

A name that ends with .jsonl, .jsonl.gz, .jsonl.zst or .parquet is one file. Any other name is a
folder with a manifest and a dataset card. Either appears when it is complete, or not at all. The
same version of the table gives the same bytes. Kafka need not be running.

With --follow, records that arrive later are also written, to further files of the folder. Each file
appears when it is complete, and the same command continues an interrupted export.

With --push-to-hub, the folder is then uploaded to Hugging Face's hub, with the token of HF_TOKEN
or of 'hf auth login'. A data set that does not exist on the hub is created; it is private unless
--public is given.

Examples:

\b
  promptmill export --formats
  promptmill export --format jsonl --out records.jsonl
  promptmill export --for trl-sft --out sft --validation 0.02 --license cc-by-4.0
  promptmill export --for trl-dpo --out pairs.parquet --run first
  promptmill export --for verl-sft --format parquet --out verl --shard-size 256MB
  promptmill export --out good.jsonl.zst --where "scores.helpfulness >= 3.5 AND reward > 4"
  promptmill export --for trl-sft --out growing --follow --seal-seconds 300
  promptmill export --for trl-sft --out sft --push-to-hub my-team/my-answers
"""


class FileFormat(StrEnum):
    """Format of the files."""

    JSONL = "jsonl"
    JSONL_GZ = "jsonl.gz"
    JSONL_ZST = "jsonl.zst"
    PARQUET = "parquet"


class Kind(StrEnum):
    """Kind of the records."""

    SFT = "sft"
    PREFERENCE = "preference"


def export(
    out: Annotated[Path | None, typer.Option(help="File or folder to write.")] = None,
    trainer: Annotated[
        str, typer.Option("--for", help="Trainer format; --formats lists them.")
    ] = "records",
    form: Annotated[
        FileFormat | None,
        typer.Option(
            "--format", help="Format of the files; by default that of --out's suffix, or jsonl."
        ),
    ] = None,
    run: Annotated[str | None, typer.Option(help="Export only records of this run.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Export only records of this kind.")] = None,
    where: Annotated[
        str | None, typer.Option(help="SQL condition over the columns of the table of records.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns, separated by commas: of promptmill's rows, or added to a trainer's."
        ),
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=0, help="Version of the table; by default the latest.")
    ] = None,
    validation: Annotated[
        float,
        typer.Option(
            min=0, max=0.5, help="Share of the prompts that go to a validation split, chosen by id."
        ),
    ] = 0.0,
    shard_size: Annotated[
        str, typer.Option(help="Size after which a file of a folder is complete.")
    ] = "512MB",
    verifier: Annotated[
        str,
        typer.Option(help="Name of the scoring function or environment, for RL formats."),
    ] = "promptmill",
    licence: Annotated[
        str | None, typer.Option("--license", help="Licence for the dataset card, e.g. cc-by-4.0.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the dataset card.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an earlier export's folder.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Also write records that arrive later, until Ctrl-C.")
    ] = False,
    seal_seconds: Annotated[
        float, typer.Option(min=0.1, help="With --follow: seconds after which a file is completed.")
    ] = 60.0,
    idle_seconds: Annotated[
        float | None,
        typer.Option(min=0, help="With --follow: end after this many seconds without records."),
    ] = None,
    until_settled: Annotated[
        bool,
        typer.Option(
            "--until-settled", help="With --follow: end when all outcomes of --run are stored."
        ),
    ] = False,
    push_to_hub: Annotated[
        str | None,
        typer.Option(help="Upload the folder to this data set of the hub, OWNER/NAME."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Make a data set that is created readable by everyone.")
    ] = False,
    formats: Annotated[
        bool, typer.Option("--formats", help="List the trainer formats, and end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.export import list_formats, report, shard_bytes
    from promptmill.cli.settings import load
    from promptmill.export.export import ExportSettings
    from promptmill.export.export import export as export_records
    from promptmill.export.hub import Hub
    from promptmill.export.selection import Selection

    if formats:
        list_formats(as_json=as_json)
        return
    if out is None:
        raise typer.BadParameter("name the file or folder to write", param_hint="--out")
    selection = Selection(run, () if kind is None else (kind.value,), where, version)
    settings = ExportSettings(
        out=out,
        trainer=trainer,
        form=None if form is None else form.value,
        selection=selection,
        columns=tuple(name.strip() for name in (columns or "").split(",") if name.strip()),
        validation=validation,
        shard_bytes=shard_bytes(shard_size),
        verifier=verifier,
        licence=licence,
        title=title,
        replace=replace,
    )
    if not follow:
        hub = None if push_to_hub is None else Hub(push_to_hub, private=not public)
        if hub is not None:
            hub.check(out)
        done = export_records(load().store_uri, settings)
        report(done, None if hub is None else hub.push(out), as_json=as_json)
        return
    from promptmill.cli.export import report_growing
    from promptmill.training.following import Following
    from promptmill.training.sealing import export_growing

    if until_settled and run is None:
        raise typer.BadParameter("it needs the name of a run", param_hint="--run")
    for name, given in (("--replace", replace), ("--push-to-hub", push_to_hub)):
        if given:
            raise typer.BadParameter("it contradicts --follow; omit one of them", param_hint=name)
    following = Following(
        follow=True, idle_s=idle_seconds, settled_run=run if until_settled else None
    )
    manifest = export_growing(load().store_uri, settings, seal_s=seal_seconds, following=following)
    report_growing(out, manifest, as_json=as_json)
