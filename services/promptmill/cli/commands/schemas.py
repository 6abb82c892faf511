"""``promptmill schemas``: write or register JSON Schemas, and write the AsyncAPI document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HELP = """Write or register the JSON Schemas of all messages, and write the AsyncAPI document.

Examples:

\b
  promptmill schemas                       list the documents
  promptmill schemas --out docs            write them
  promptmill schemas --out docs --check    exit code 1 when a file is out of date
  promptmill schemas --json                all of them as one JSON document
  promptmill schemas --register URL        register the schemas under TOPIC-value
  promptmill schemas --register URL --dry-run
"""


def schemas(
    out: Annotated[
        Path | None, typer.Option(help="Folder to write asyncapi.json and schemas/ to.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the files and write nothing.")
    ] = False,
    register: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Schema registry (Confluent's API) to register at."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be registered, and send nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill_schemas.documents import documents

    if register is not None or dry_run:
        _register(register, dry_run=dry_run, as_json=as_json)
        return
    files = documents()
    if check:
        _check(files, out or Path("docs"), as_json)
    elif out is not None:
        _write(files, out, as_json)
    else:
        _list(files, as_json)


def _register(url: str | None, *, dry_run: bool, as_json: bool) -> None:
    from promptmill.cli.output import note, print_bytes, print_json
    from promptmill.cli.schema_registry import SchemaRegistry, load_registry_settings, subjects
    from promptmill.runtime.errors import Misconfigured

    if url is None:
        raise Misconfigured("--dry-run needs --register URL")
    settings = load_registry_settings()
    registry, wanted = SchemaRegistry(url, settings), subjects(settings.topic_prefix)
    if registry.exposes_login:
        note("the password would be sent to the registry unencrypted: use https")
    done = []
    for subject in wanted:
        number = None if dry_run else registry.register(subject)
        done.append({"subject": subject.name, "id": number, "bytes": len(subject.schema)})
        if not as_json:
            outcome = f"{len(subject.schema):,} bytes" if dry_run else f"id {number}"
            print_bytes(f"{subject.name}  {outcome}".encode())
    if as_json:
        print_json({"dry_run": dry_run, "subjects": done})


def _list(files: dict[str, bytes], as_json: bool) -> None:
    import orjson

    from promptmill.cli.output import note, print_bytes, print_json

    if as_json:
        print_json({path: orjson.loads(content) for path, content in files.items()})
        return
    for path in files:
        print_bytes(path.encode())
    note("write them with promptmill schemas --out FOLDER, or print them with --json")


def _write(files: dict[str, bytes], out: Path, as_json: bool) -> None:
    from promptmill.cli.output import print_bytes, print_json
    from promptmill.runtime.errors import Misconfigured

    for path, content in files.items():
        file = out / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        except OSError as error:
            raise Misconfigured(f"cannot write {file}: {error}; choose another --out") from error
    written = [str(out / path) for path in files]
    if as_json:
        print_json({"written": written})
    else:
        print_bytes("\n".join(written).encode())


def _check(files: dict[str, bytes], folder: Path, as_json: bool) -> None:
    from promptmill.cli.output import note, print_json

    stale = [path for path, content in files.items() if _stored(folder / path) != content]
    if as_json:
        print_json({"current": not stale, "stale": [str(folder / path) for path in stale]})
    for path in stale:
        note(f"{folder / path} is out of date: run promptmill schemas --out {folder}")
    if stale:
        raise typer.Exit(1)


def _stored(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None
