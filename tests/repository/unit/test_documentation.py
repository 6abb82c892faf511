"""What the pages under docs/ say about the code is true."""

from __future__ import annotations

import ast
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from promptmill.export.formats import FORMATS
from promptmill.flow.lags import Standing
from promptmill.flow.marks import Marks
from promptmill.flow.metrics import FlowMetrics
from promptmill.runtime.telemetry.metrics import StageMetrics

ROOT = Path(__file__).parents[3]
SERVICES = ROOT / "services" / "promptmill"
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", *ROOT.glob("CONTRIBUTING.md")])
LINKED = sorted(
    {*PAGES, ROOT / "CHANGELOG.md", ROOT / "tests" / "README.md"} | {*ROOT.glob("docs/*/*.md")}
)
OPERATIONS = ROOT / "docs" / "operations.md"

METRIC = re.compile(r"^\| `(promptmill_\w+)` \|", re.MULTILINE)
FORMAT = re.compile(r"^\| `([\w-]+)`(?: \(legacy\))? \| (both|sft|preference) \|", re.MULTILINE)
ALERT = re.compile(r"^\| `([A-Z][a-z]\w+)` \|", re.MULTILINE)
QUOTED = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/?)`")
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
HEADINGS = ["Context", "Options", "Decision", "Consequences"]
MAX_WORDS = 400
STATUS = re.compile(r"^Status: (accepted|superseded by \d{4})\.$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def watched() -> Iterator[str]:
    """Names of gauges that any module registers with ``watch`` or ``watch_causes``."""
    for path in SERVICES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="watch" | "watch_causes"),
                    args=[ast.Constant(value=str(name)), *_],
                ):
                    yield f"promptmill_{name}"


def registered() -> set[str]:
    """Every metric that a worker can show."""
    stage = StageMetrics("filter", time.monotonic)
    FlowMetrics(stage, {"records": Marks()}, lambda: 0.0, Standing())
    families = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in stage.registry.collect()
    }
    return families | set(watched())


def test_the_page_on_operations_lists_every_metric_and_no_other() -> None:
    assert set(METRIC.findall(OPERATIONS.read_text())) == registered()


def test_the_page_on_operations_says_what_to_do_about_every_alert() -> None:
    rules = (ROOT / "infra" / "prometheus" / "rules.yml").read_text()
    groups = yaml.safe_load(rules)["groups"]
    names = {rule["alert"] for group in groups for rule in group["rules"]}
    assert set(ALERT.findall(OPERATIONS.read_text())) == names


def paths(page: Path) -> set[str]:
    """What looks like one of our files: a slash, and a suffix or a known first part."""
    first = {
        path.name for path in (*ROOT.iterdir(), *SERVICES.iterdir(), *(ROOT / "tests").iterdir())
    }
    quoted = QUOTED.findall(FENCE.sub("", page.read_text()))
    return {q for q in quoted if "/" in q and (q.split("/")[0] in first or Path(q).suffix == ".py")}


def exists(path: str) -> bool:
    """Relative to the clone, to the package or to the tests; created files need not exist."""
    places = (ROOT, SERVICES, ROOT / "tests")
    return any((place / path).exists() for place in places) or path.startswith(".promptmill")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    assert [path for path in sorted(paths(page)) if not exists(path)] == []


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    links = LINK.findall(FENCE.sub("", page.read_text()))
    ours = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in ours if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_its_number_status_and_headings_and_is_short(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.name[:4]}: ")
    assert len(STATUS.findall(text)) == 1
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert len(text.split()) <= MAX_WORDS


def test_each_number_is_that_of_one_decision() -> None:
    numbers = Counter(page.name[:4] for page in DECISIONS)
    assert [number for number, times in numbers.items() if times > 1] == []


def test_the_page_on_formats_lists_every_format_with_its_kinds() -> None:
    listed = dict(FORMAT.findall((ROOT / "docs" / "formats.md").read_text()))
    kinds = {
        name: "both" if len(form.kinds) > 1 else form.kinds[0] for name, form in FORMATS.items()
    }
    assert listed == kinds
