"""``promptmill down``: stop the local stack."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """Stop the Kafka and Redis that `promptmill up` started. Their data is kept.

Examples:

\b
  promptmill down
  promptmill down --purge      also delete their data and logs (not the store)
  promptmill --home ~/other down
"""


def down(
    purge: Annotated[
        bool, typer.Option("--purge", help="Also delete the servers' data and logs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.output import print_bytes, print_json
    from promptmill.cli.settings import load
    from promptmill.devstack import stack

    home = load().home
    stopped = stack.down(home, purge=purge)
    if as_json:
        print_json({"stopped": list(stopped.servers), "purged": stopped.purged, "home": str(home)})
        return
    servers = ", ".join(stopped.servers)
    print_bytes((f"stopped {servers}" if servers else f"nothing was running in {home}").encode())
