"""``prompts``: one row for each published prompt, so that run counts need no broker.

Rows that were written before the text was stored have no ``messages``.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from promptmill.lake.tables import columns
from promptmill_schemas import Prompt

SCHEMA = pa.schema(
    [
        columns.required("prompt_id", columns.TEXT),
        columns.required("run", columns.TEXT),
        *columns.PROVENANCE,
        columns.required("n", columns.INT),
        pa.field("sampling", columns.JSON),
        pa.field("adapter", columns.TEXT),
        pa.field("tags", columns.JSON),
        pa.field("replays", columns.INT),
        pa.field("messages", columns.MESSAGES),
    ]
)


def row(prompt: Prompt) -> dict[str, Any]:
    """The prompt's row, without provenance. It holds the whole prompt, so it can be sent again."""
    columns.check_fits("replays", prompt.replays)
    return {
        "prompt_id": prompt.prompt_id,
        "run": prompt.run,
        "n": prompt.n,
        "sampling": columns.sampling(prompt.sampling),
        "adapter": prompt.adapter,
        "tags": columns.as_json(prompt.tags),
        "replays": prompt.replays,
        "created_at": prompt.created_at,
        "messages": columns.messages(prompt.messages),
    }
