"""Typed tables, read back by DuckDB and polars as their users do; observations as tables, too."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.reports import samples

from heaptrail.errors import UsageError
from heaptrail.model.observations import AnyObservation, Block, HeapSample, Mark, Problem, RawFrame
from heaptrail.reports.observations import COLUMNS, write_csv, write_json_lines
from heaptrail.reports.tables import ArrowRenderer, ParquetRenderer, write_observations
from heaptrail.scripting import parse

if TYPE_CHECKING:
    from conftest import Golden

    from heaptrail.model.report import Report

GOLDENS = Path(__file__).resolve().parents[2] / "golden" / "reports"
CASE = GOLDENS.parent / "dialects" / "tina" / "case-markdown.txt"
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "sites.parquet"
    path.write_bytes(ParquetRenderer().render(samples.leak()))
    return path


def test_duckdb_sums_what_leaks(parquet: Path) -> None:
    rows = duckdb.sql(
        f"select function, live_bytes, len(stack), stack[1].kind from '{parquet}' where class = 'leak' order by 1"
    ).fetchall()

    sites = [site for finding in samples.leak().findings if finding.finding_class == "leak" for site in finding.sites]
    assert rows == sorted((site.name, site.live_bytes, len(site.frames), site.frames[0].kind) for site in sites)


def test_arrow_and_parquet_hold_the_same_table(parquet: Path) -> None:
    arrow = pl.read_ipc(io.BytesIO(ArrowRenderer().render(samples.leak())))

    assert arrow.equals(pl.read_parquet(parquet))


@pytest.mark.parametrize("name", ["leak", "empty", "hostile", "bare_log"])
@pytest.mark.parametrize("renderer", [ParquetRenderer, ArrowRenderer])
def test_golden(golden: Golden, name: str, renderer: type[ParquetRenderer | ArrowRenderer]) -> None:
    content = renderer().render(samples.SAMPLES[name]())

    read = pq.read_table if renderer.name == "parquet" else lambda file: pa.ipc.open_file(file).read_all()
    table = read(io.BytesIO(content))
    lines = [" ".join(table.column_names), *(msgspec.json.encode(row).decode() for row in table.to_pylist())]
    assert golden(GOLDENS / renderer.name / f"{name}.txt", "\n".join(lines) + "\n")


@few
@given(report=strategies.reports)
def test_every_report_is_a_table_of_printable_strings(report: Report) -> None:
    table = pq.read_table(io.BytesIO(ParquetRenderer().render(report)))

    assert table.num_rows == sum(len(finding.sites) for finding in report.findings)
    assert all(text.isprintable() for text in strings_of(table.to_pylist()))


def strings_of(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings_of(item)]
    return [text for item in value for text in strings_of(item)] if isinstance(value, list) else []


def test_without_pyarrow_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)

    with pytest.raises(UsageError) as caught:
        ParquetRenderer().render(samples.leak())

    assert caught.value.try_this == 'pip install "heaptrail[tables]", or --format csv'


# --- observations --------------------------------------------------------------------------------------------------


def observations_as_parquet(observations: list[AnyObservation]) -> pa.Table:
    out = io.BytesIO()
    write_observations(observations, out, "parquet")
    return pq.read_table(io.BytesIO(out.getvalue()))


def test_a_log_becomes_a_table_that_duckdb_reads(tmp_path: Path) -> None:
    path = tmp_path / "case.parquet"
    with path.open("wb") as out:
        write_observations(parse(CASE), out, "parquet")

    counted = dict(duckdb.sql(f"select kind, count(*) from '{path}' group by kind").fetchall())

    expected = [type(observation).__struct_config__.tag for observation in parse(CASE)]
    assert counted == {kind: expected.count(kind) for kind in expected}
    sizes = duckdb.sql(f"select distinct size_bytes, frames[1].kind from '{path}' where kind = 'block'").fetchall()
    assert (3840, "call") in sizes


def test_the_columns_are_those_of_every_kind_and_keep_their_types() -> None:
    block = Block(
        line=1, dump=1, address=(1 << 64) - 1, size_bytes=8, size_kind="block", frames=(RawFrame(16, "call"),)
    )
    table = observations_as_parquet([HeapSample(line=3, free_bytes=5), block])

    assert table.column_names == [column.name for column in COLUMNS]
    first, second = table.to_pylist()
    assert (first["kind"], first["free_bytes"], first["address"], first["frames"]) == ("heap_sample", 5, None, None)
    assert second["address"] == (1 << 64) - 1
    assert second["frames"] == [{"pc": 16, "kind": "call"}]
    assert second["freed"] is False


def test_a_number_that_64_bits_cannot_hold_is_unknown() -> None:
    (row,) = observations_as_parquet([HeapSample(line=3, free_bytes=1 << 70, used_bytes=7)]).to_pylist()

    assert (row["free_bytes"], row["used_bytes"]) == (None, 7)


def test_a_table_goes_through_a_pipe() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as out:
        write_observations([Mark(line=1, what="boot")], out, "parquet")
    with os.fdopen(reader, "rb") as pipe:
        assert pq.read_table(io.BytesIO(pipe.read())).num_rows == 1


def test_csv_has_a_row_for_each_and_no_formula() -> None:
    out = io.BytesIO()
    frames = (RawFrame(0x08396D52, "call"), RawFrame(0x10, "return"))
    write_csv([Problem(line=2, what="corrupt", text="=1+1\x1b[31m", frames=frames), Mark(line=3, what="cycle")], out)

    rows = list(csv.DictReader(io.StringIO(out.getvalue().decode(), newline="")))

    assert [row["kind"] for row in rows] == ["problem", "mark"]
    assert rows[0]["text"] == "'=1+1"
    assert rows[0]["frames"] == "call 0x08396d52 < return 0x00000010"
    assert rows[1]["text"] == ""


def test_json_lines_hold_no_command_for_a_ci_server() -> None:
    out = io.BytesIO()
    write_json_lines([Mark(line=1, what="step", label="##vso[task.setvariable variable=PATH]/evil")], out)

    assert b"##vso[" not in out.getvalue()
    assert json.loads(out.getvalue())["label"] == "##vso[task.setvariable variable=PATH]/evil"


@few
@given(st.lists(st.one_of([strategies.records(kind) for kind in (Block, HeapSample, Problem, Mark)]), max_size=5))
def test_any_observations_are_a_table(observations: list[AnyObservation]) -> None:
    table = observations_as_parquet(observations)
    out = io.BytesIO()
    write_csv(observations, out)

    assert table.num_rows == len(observations)
    assert all(text.isprintable() for text in strings_of(table.to_pylist()))
    assert len(list(csv.reader(io.StringIO(out.getvalue().decode(), newline="")))) == len(observations) + 1
