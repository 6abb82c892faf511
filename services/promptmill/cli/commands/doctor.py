"""``promptmill doctor``: check what promptmill needs on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """Check everything that promptmill needs on this machine, without changing anything.

The exit code is 0 if nothing is missing and 1 otherwise. The output says how to get what is
missing.

Examples:

\b
  promptmill doctor
  promptmill doctor --json
"""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.doctor import all_findings
    from promptmill.cli.output import print_bytes, print_json, quiet_logs
    from promptmill.cli.settings import load

    quiet_logs()
    findings = all_findings(load())
    is_fine = all(finding.ok for finding in findings)
    if as_json:
        checks = [
            {"name": f.name, "ok": f.ok, "detail": f.detail, "remedy": f.remedy} for f in findings
        ]
        print_json({"ok": is_fine, "checks": checks})
    else:
        for finding in findings:
            verdict = "ok     " if finding.ok else "MISSING"
            print_bytes(f"{verdict} {finding.name}: {finding.detail}".encode())
            if finding.remedy:
                print_bytes(f"        → {finding.remedy}".encode())
    raise typer.Exit(0 if is_fine else 1)
