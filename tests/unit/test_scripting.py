"""A report in a script or a notebook's cell: what Jupyter asks of it, and nothing of a device's as markup."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import polars as pl
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from unit.reports import samples

import heaptrail
from heaptrail.errors import UsageError
from heaptrail.model.report import Report as Record
from heaptrail.reports.jsonfile import JsonRenderer, load_report
from heaptrail.scripting import Report

if TYPE_CHECKING:
    from pathlib import Path

TAGS = re.compile(r"</?(?:p|strong|table|tr|th|td)>")


@pytest.fixture
def report(tmp_path: Path) -> Report:
    path = tmp_path / "report.json"
    path.write_bytes(JsonRenderer().render(samples.leak()))
    return heaptrail.read(path)


def test_a_saved_report_is_read_as_it_is(report: Report) -> None:
    assert isinstance(report, Record)
    assert report.findings == samples.leak().findings
    assert JsonRenderer().render(report) == JsonRenderer().render(load_report(JsonRenderer().render(samples.leak())))


def test_a_cell_shows_verdict_books_and_findings(report: Report) -> None:
    html = report._repr_html_()

    assert html.startswith("<p><strong>Leak: free memory falls by 7,696 B per cycle")
    assert "<tr><th>explained</th><td>92,352 B 99.2%</td></tr>" in html
    assert "<td>leak</td><td>softvol_ap_update_mode (softvolume.c:250)" in html
    assert repr(report).startswith("Leak: free memory falls")


def test_the_charts_are_plotly_figures_by_name(report: Report) -> None:
    assert report.figure().data
    assert report.figure("live-bytes").data
    with pytest.raises(UsageError, match="no chart 'pie'") as caught:
        report.figure("pie")
    assert "free-heap" in caught.value.try_this


def test_sites_and_readings_are_data_frames(report: Report) -> None:
    sites, readings = report.to_polars(), report.to_polars("readings")

    leaks = sites.filter(pl.col("class") == "leak")
    assert leaks["function"].to_list()[0] == "softvol_ap_update_mode"
    assert leaks["live_bytes"].sum() == sum(f.live_bytes for f in report.findings if f.finding_class == "leak")
    assert readings["free_bytes"].dtype == pl.Int64
    assert len(readings) == sum(len(series.points) for series in report.series)
    with pytest.raises(UsageError, match="no table 'tasks'"):
        report.to_polars("tasks")  # type: ignore[arg-type]


def test_without_polars_the_error_says_how_to_get_it(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)

    with pytest.raises(UsageError) as caught:
        report.to_polars()

    assert caught.value.try_this == 'pip install "heaptrail[tables]"'


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "('numpy', 'scipy', 'plotly', 'polars', 'pyarrow', 'rich', 'mcp', 'jinja2', 'msgspec')"
    program = f"import sys, heaptrail; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "[]\n"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.records(Record))
def test_no_string_of_a_device_is_markup(record: Record) -> None:
    html = Report.of(record)._repr_html_()

    assert re.findall(r"<[^>]*>?", TAGS.sub("", html)) == []
    assert all(character.isprintable() or character == "\n" for character in html)
