"""A report in a notebook's cell: what Jupyter asks of it, and nothing of a device's as markup."""

from __future__ import annotations

import re

import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from unit.reports import samples

import heaptrail
from heaptrail.errors import UsageError
from heaptrail.model.report import Report
from heaptrail.notebook import show

TAGS = re.compile(r"</?(?:p|strong|table|tr|th|td)>")


def test_a_cell_shows_verdict_books_and_findings() -> None:
    html = heaptrail.show(samples.leak())._repr_html_()

    assert html.startswith("<p><strong>Leak: free memory falls by 7,696 B per cycle")
    assert "<tr><th>explained</th><td>92,352 B 99.2%</td></tr>" in html
    assert "<td>leak</td><td>softvol_ap_update_mode (softvolume.c:250)" in html
    assert repr(show(samples.leak())).startswith("Leak: free memory falls")


def test_the_charts_are_plotly_figures_by_name() -> None:
    shown = show(samples.leak())

    assert shown.figure("free-heap").data
    with pytest.raises(UsageError, match="no chart 'pie'") as caught:
        shown.figure("pie")
    assert "free-heap" in caught.value.try_this


def test_rows_are_a_table_for_any_data_frame() -> None:
    rows = show(samples.leak()).rows()

    assert rows[0]["function"] == "softvol_ap_update_mode"
    assert len({tuple(row) for row in rows}) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.records(Report))
def test_no_string_of_a_device_is_markup(report: Report) -> None:
    html = show(report)._repr_html_()

    assert re.findall(r"<[^>]*>?", TAGS.sub("", html)) == []
    assert all(character.isprintable() or character == "\n" for character in html)
