"""The page: texts, tables, charts and the charting library in one HTML document.

A content security policy in the page forbids all connections, and all scripts except the page's two
own ones, so that no text in the tables can send data from the browser.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, Final

import orjson

from promptmill.report.page import tables
from promptmill.report.page.charts import Chart, charts
from promptmill.report.stats import Stats
from promptmill.runtime.errors import Misconfigured

_LIBRARY: Final = "window.vegaEmbed = vegaEmbed;"


def render(stats: Stats, title: str) -> str:
    """Return the page as HTML.

    Args:
        stats: the figures.
        title: the title of the page.

    Raises:
        Misconfigured: the package with the charting library is not installed.
    """
    scripts = [_library(), _asset("draw.js")]
    drawn = charts(stats)
    return _PAGE.format(
        policy=_policy(scripts),
        style=_asset("style.css"),
        title=tables.safe(title),
        about=_about(stats),
        tiles=tables.tiles(stats),
        sections="".join(_sections(stats, drawn)),
        specs=_json({_id(at): chart.spec for at, chart in enumerate(drawn)}),
        scripts="".join(f"<script>{script}</script>" for script in scripts),
    )


def _sections(stats: Stats, drawn: tuple[Chart, ...]) -> Iterable[str]:
    cards = {
        "Decisions": [*tables.groups(stats), *tables.dead_letters(stats)],
        "Scores": tables.distributions("All scores", stats.scores),
        "Duplicates": tables.duplicates(stats),
        "Lengths and tokens": [
            *tables.distributions("All lengths", stats.lengths),
            *tables.usage(stats),
        ],
    }
    for name, found in cards.items():
        figures = [_figure(at, each) for at, each in enumerate(drawn) if each.section == name]
        content = "".join([*figures, *found])
        if content:
            yield f'<h2>{name}</h2><div class="grid">{content}</div>'


def _figure(at: int, chart: Chart) -> str:
    wide = " wide" if chart.wide else ""
    return (
        f'<figure class="card{wide}"><figcaption>{tables.safe(chart.title)}</figcaption>'
        f'<div class="chart" id="{_id(at)}"></div></figure>'
    )


def _id(at: int) -> str:
    return f"chart-{at}"


def _about(stats: Stats) -> str:
    run = "All runs" if stats.run is None else f"Run {stats.run}"
    versions = ", ".join(f"{name} at version {number}" for name, number in stats.versions.items())
    return tables.safe(f"{run}. Tables: {versions}.")


def _library() -> str:
    try:
        import vl_convert
    except ImportError as error:
        raise Misconfigured(
            "promptmill report needs the package vl-convert-python, which holds the charting "
            "library; install it with: pip install 'promptmill[report]'"
        ) from error
    return str(vl_convert.javascript_bundle(_LIBRARY)).replace("</script", "<\\/script")


def _asset(name: str) -> str:
    return files("promptmill.report.page").joinpath(name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """Return JSON without ``<``, which is safe inside a script element."""
    return orjson.dumps(value).decode().replace("<", "\\u003c")


def _policy(scripts: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(each.encode()).digest()) for each in scripts)
    allowed = " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'; "
        "form-action 'none'"
    )


_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p>{about}</p></header>
<main>
<div class="grid tiles">{tiles}</div>
{sections}
</main>
<noscript><p>The charts need JavaScript; the tables do not.</p></noscript>
<script type="application/json" id="charts">{specs}</script>
{scripts}
</body>
</html>
"""
