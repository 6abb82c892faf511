"""The page holds all it needs, runs nothing of what the tables say, and shows its charts."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest

from promptmill.report.page.charts import charts
from promptmill.report.page.document import render
from promptmill.report.stats import Stats, Wanted, collect
from report.integration.browser import browser, open_tab

vl_convert = pytest.importorskip("vl_convert", reason="./scripts/setup installs it")

pytestmark = pytest.mark.real

WIDEST = (
    "Math.max(...[...document.querySelectorAll('.chart svg')]"
    ".map((chart) => chart.getBoundingClientRect().right))"
)


@pytest.fixture(scope="module")
def stats(store: str) -> Stats:
    """All figures of the store."""
    return collect(store, Wanted())


@pytest.fixture(scope="module")
def page(stats: Stats, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about the store."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    out.write_text(render(stats, 'Title "<b>"'))
    return out


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the data of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note the content of a script."""
        if self.found and self.found[-1][0] == "script":
            self.scripts.append(data)


def test_the_page_refers_to_nothing_outside_itself(page: Path) -> None:
    found = Elements(page.read_text()).found
    assert not [tag for tag, has in found if {"src", "href", "action", "data"} & has.keys()]
    assert not {"link", "iframe", "img", "object"} & {tag for tag, _ in found}
    policy = next(has["content"] for tag, has in found if "http-equiv" in has)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in found


def test_foreign_texts_are_shown_and_not_run(page: Path) -> None:
    text = page.read_text()
    parsed = Elements(text)
    assert len([tag for tag, _ in parsed.found if tag == "script"]) == 3
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; \\x1b[31mred" in text
    assert "<title>Title &quot;&lt;b&gt;&quot;</title>" in text
    specs = next(data for data in parsed.scripts if data.startswith("{"))
    assert "<" not in specs
    assert len(orjson.loads(specs)) == text.count('class="chart"')


def test_the_library_accepts_every_chart(stats: Stats) -> None:
    drawn = charts(stats)
    assert len(drawn) == 14
    for chart in drawn:
        assert vl_convert.vegalite_to_svg(_plain(chart.spec) | {"width": 300}).startswith("<svg")


def _plain(value: Any) -> Any:
    """The chart without the names of the page's colours."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return "#123456" if isinstance(value, str) and value.startswith("series-") else value


@pytest.mark.parametrize(("width", "theme"), [(1200, "light"), (1200, "dark"), (390, "dark")])
async def test_a_browser_draws_every_chart(
    page: Path, stats: Stats, tmp_path: Path, width: int, theme: str
) -> None:
    program = browser()
    if program is None:
        pytest.skip("this machine has no Chromium (Debian: apt-get install chromium)")
    async with open_tab(program, tmp_path / "profile") as tab:
        await tab.show(page, width=width, theme=theme)
        assert await tab.evaluate("document.querySelectorAll('.chart svg').length") == len(
            charts(stats)
        )
        assert await tab.evaluate("document.documentElement.scrollWidth") <= width
        assert await tab.evaluate(WIDEST) <= width
        colour = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert colour == ("rgb(18, 22, 28)" if theme == "dark" else "rgb(246, 247, 249)")
        (tmp_path / "page.png").write_bytes(await tab.screenshot())
        assert tab.requests == [page.as_uri()]
        assert tab.errors == []
