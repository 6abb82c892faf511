"""``prompts``: one row for each published prompt, so that run counts need no broker.

Rows that were written before the text was stored have no ``messages``.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from promptmill.lake.tables import columns, optional
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
        *optional.OF_PROMPT,
        *optional.LABELS,
        pa.field("extra_body", columns.TEXT),
        pa.field("draw", columns.INT),
    ]
)


def row(prompt: Prompt) -> dict[str, Any]:
    """Return the row with the whole prompt, so that it can be sent again, without provenance."""
    columns.check_fits("replays", prompt.replays)
    columns.check_fits("draw", prompt.draw or 0)
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
        "category": prompt.category,
        "licence": prompt.licence,
        "extra_body": optional.as_json(prompt.extra_body),
        "draw": prompt.draw,
        **optional.of_prompt(prompt),
    }
