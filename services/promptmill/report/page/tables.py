"""The tables and texts of the page, with every foreign text escaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from promptmill.report.counts import Group
from promptmill.report.duplicates import Example
from promptmill.report.scores import Distribution
from promptmill.report.stats import Stats
from promptmill.runtime.terminal import printable


def safe(text: str) -> str:
    """Escape a text for HTML; characters that hide or reorder others are shown as escapes."""
    return escape(printable(text, lines=True))


def tiles(stats: Stats) -> str:
    """Return the tiles with the totals at the top of the page."""
    accepted = sum(run.accepted for run in stats.runs)
    decided = accepted + sum(run.rejected for run in stats.runs)
    shown = {
        "prompts published": f"{sum(run.published for run in stats.runs):,}",
        "records": f"{stats.records:,}",
        "accepted": f"{100 * accepted / decided:.1f} %" if decided else "–",
        "rejected": f"{sum(run.rejected for run in stats.runs):,}",
        "dead": f"{sum(run.dead for run in stats.runs):,}",
        "pending": f"{sum(run.pending for run in stats.runs):,}",
        "completion tokens": f"{sum(each.completion_tokens for each in stats.usage):,}",
    }
    costs = [each.cost for each in stats.usage if each.cost is not None]
    if costs:
        shown["cost, estimated"] = f"{sum(costs):,.2f}"
    return "".join(
        f'<div class="card tile"><strong>{value}</strong><span>{name}</span></div>'
        for name, value in shown.items()
    )


def groups(stats: Stats) -> Iterator[str]:
    """Yield a table for each label of decisions."""
    for label, found in stats.groups.items():
        if found:
            head = (label, "records", *(() if label == "kind" else ("rejected", "accepted")))
            yield _card(f"By {label}", _table(head, [_group(each, head) for each in found]))


def _group(group: Group, head: Sequence[str]) -> list[str]:
    share = "–" if group.acceptance is None else f"{100 * group.acceptance:.1f} %"
    return [group.value or "–", f"{group.records:,}", f"{group.rejected:,}", share][: len(head)]


def distributions(title: str, found: Sequence[Distribution]) -> Iterator[str]:
    """Yield a table with the figures of the histograms."""
    rows = [
        [
            each.name,
            each.source,
            f"{each.count:,}",
            *(
                _number(value)
                for value in (each.mean, each.deviation, each.least, *each.quantiles, each.greatest)
            ),
        ]
        for each in found
    ]
    head = ("", "answers", "number", "mean", "sd", "min", *_QUANTILES, "max")
    if rows:
        yield _card(title, _table(head, rows), wide=True)


_QUANTILES = ("5 %", "25 %", "median", "75 %", "95 %")


def usage(stats: Stats) -> Iterator[str]:
    """Yield a table with the tokens and the cost of each model."""
    rows = [
        [
            each.model,
            f"{each.answers:,}",
            f"≈ {each.prompt_tokens:,}",
            f"{each.completion_tokens:,}",
            "–" if each.cost is None else f"≈ {each.cost:,.4f}",
        ]
        for each in stats.usage
    ]
    head = ("model", "answers", "prompt tokens", "completion tokens", "cost")
    if rows:
        yield _card("Tokens by model", _table(head, rows), wide=True)


def duplicates(stats: Stats) -> Iterator[str]:
    """Yield a table with the numbers of duplicates, and examples."""
    found = stats.duplicates
    rows = [
        ["answers rejected as exact duplicates", f"{found.exact:,}"],
        ["answers rejected as near duplicates", f"{found.near:,}"],
        ["records with the same content as another record", f"{found.stored:,}"],
    ]
    yield _card("Duplicates that were found", _table(("", "number"), rows))
    yield from (_example(each) for each in found.examples)


def dead_letters(stats: Stats) -> Iterator[str]:
    """Yield a table of dead letters by stage and reason."""
    rows = [[name, f"{number:,}"] for name, number in stats.dead_letters.items()]
    if rows:
        yield _card("Dead letters", _table(("stage: reason", "number"), rows))


def _example(example: Example) -> str:
    what = "Exact duplicate" if example.similarity >= 1 else f"Similarity {example.similarity:.2f}"
    original = "(not in the table)" if example.original is None else example.original
    texts = {
        f"Prompt {example.prompt_id}": example.prompt,
        "Rejected answer": example.answer,
        f"Record {example.record_id}": original,
    }
    parts = "".join(
        f"<div><h4>{safe(name)}</h4><pre>{safe(text)}</pre></div>" for name, text in texts.items()
    )
    return _card(what, f'<div class="pair">{parts}</div>', wide=True)


def _card(title: str, content: str, *, wide: bool = False) -> str:
    extra = " wide" if wide else ""
    return f'<section class="card{extra}"><h3>{safe(title)}</h3>{content}</section>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first = "".join(f'<th scope="col">{safe(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{safe(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{first}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _number(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < 1_000 else f"{value:,.0f}"
