"""Whatever a valid report holds, every export is made, is readable for its tool, and is printable text."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from markdown_it import MarkdownIt
from unit.reports.pprof_proto import read_profile
from unit.reports.test_exports import SARIF

from heaptrail.registry import resolve
from heaptrail.reports import REGISTRY
from heaptrail.reports.csvfile import COLUMNS, CsvRenderer
from heaptrail.reports.markdown import MarkdownRenderer
from heaptrail.reports.pprof import PprofRenderer
from heaptrail.reports.sarif import SarifRenderer

if TYPE_CHECKING:
    from heaptrail.model.report import Report

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
OURS = re.compile(r"(</?(details|summary)>)*")


@pytest.mark.parametrize("name", ["collapsed", "csv", "markdown", "sarif", "speedscope"])
@few
@given(report=strategies.reports)
def test_an_export_is_printable_and_the_same_each_time(name: str, report: Report) -> None:
    renderer = resolve(REGISTRY, name, kind="report format")()

    text = renderer.render(report).decode()

    assert all(c.isprintable() or c in "\r\n" for c in text.replace("\ufe0f", ""))
    assert renderer.render(report).decode() == text
    if name in ("sarif", "speedscope"):
        assert json.loads(text)


@pytest.mark.parametrize("name", sorted({*REGISTRY} - {"arrow", "heaptrack", "parquet", "perfetto", "pprof"}))
@few
@given(report=strategies.reports)
def test_no_export_holds_a_command_for_a_ci_server(name: str, report: Report) -> None:
    with patch("heaptrail.reports.page.plotly_script", return_value="'plotly'"):
        text = resolve(REGISTRY, name, kind="report format")().render(report).decode()

    assert not re.search(r"##[A-Za-z.]*\[", text)
    assert name == "html" or not [line for line in text.splitlines() if line.lstrip().startswith("::")]


@few
@given(report=strategies.reports)
def test_sarif_always_follows_its_schema(report: Report) -> None:
    SARIF.validate(json.loads(SarifRenderer().render(report)))

    assert True  # the schema has spoken


@few
@given(report=strategies.reports)
def test_a_profile_can_always_be_read(report: Report) -> None:
    profile = read_profile(PprofRenderer().render(report))

    assert len(profile.sample) == sum(len(finding.sites) for finding in report.findings)


@few
@given(report=strategies.reports)
def test_a_table_keeps_its_shape_and_holds_no_formula(report: Report) -> None:
    rows = list(csv.reader(io.StringIO(CsvRenderer().render(report).decode(), newline="")))

    assert all(len(row) == len(COLUMNS) for row in rows)
    texts = [COLUMNS.index(name) for name in ("function", "file", "tasks", "suppressed_by", "stack")]
    assert not [row[place] for row in rows[1:] for place in texts if row[place].startswith(("=", "+", "-", "@"))]


@few
@given(report=strategies.reports)
def test_a_comment_has_no_markup_but_ours(report: Report) -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(MarkdownRenderer().render(report).decode())

    flat = [child for token in tokens for child in [token, *(token.children or [])]]
    assert not {"link_open", "image", "code_inline", "em_open", "s_open", "fence", "code_block"} & {
        t.type for t in flat
    }
    tags = "".join(tag for t in flat if t.type.startswith("html") for tag in re.findall(r"<[^>]*>", t.content))
    assert OURS.fullmatch(tags)
