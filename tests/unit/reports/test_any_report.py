"""Whatever a valid report holds, every renderer makes its file, and no string from a device gets out unescaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from unittest.mock import patch

import strategies
from hypothesis import HealthCheck, given, settings
from unit.reports import samples
from unit.reports.test_html import Page

from heaptrail.reports.charts import report_charts
from heaptrail.reports.html import HtmlRenderer
from heaptrail.reports.jsonfile import JsonRenderer, load_report
from heaptrail.reports.terminal import TerminalRenderer

if TYPE_CHECKING:
    from heaptrail.model.report import Report

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
few = settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
KNOWN_TAGS = set(Page(HtmlRenderer().render(samples.two_boots())).tags) | {"noscript", "br"}


@few
@given(strategies.reports)
def test_json_comes_back_and_is_printable(report: Report) -> None:
    content = JsonRenderer().render(report)

    again = load_report(content)
    assert JsonRenderer().render(again) == content
    assert all(character.isprintable() or character == "\n" for character in content.decode())


@few
@given(strategies.reports)
def test_the_terminal_gets_only_printable_lines(report: Report) -> None:
    text = TerminalRenderer(details=True).render(report).decode()

    assert all(character.isprintable() or character == "\n" for character in text)


@few
@given(strategies.reports)
def test_the_page_has_no_element_or_handler_of_a_strangers(report: Report) -> None:
    with patch("heaptrail.reports.page.plotly_script", return_value="'plotly'"):  # five megabytes that never change
        page = Page(HtmlRenderer().render(report))

    assert set(page.tags) <= KNOWN_TAGS
    assert len(page.scripts) == (3 if report_charts(report) else 1) + ("Search" in page.text)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not CONTROL.search(page.text)
    assert not any(CONTROL.search(value) for _, value in page.attributes)
