"""Typed tables for data frames and databases: a row for each site, reading or observation. The only door of pyarrow.

Columns have the names of the CSV and of SPEC.md, but keep their types: a list of sizes is a list, a stack a list of
frames, an address an unsigned number. What is unknown is null, and so is a number that 64 bits cannot hold. Strings are
printable and bounded, as in every format but the JSON.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Final, Literal

import msgspec

from heaptrail.errors import UsageError
from heaptrail.model.identity import site_fingerprint
from heaptrail.reports.observations import ADDRESSES, COLUMNS, Column, in_batches
from heaptrail.reports.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    import pyarrow as pa

    from heaptrail.model.observations import AnyObservation
    from heaptrail.model.report import Finding, Frame, Report, Site

TableFormat = Literal["arrow", "parquet"]
Row = dict[str, Any]

_ROWS_AT_ONCE: Final = 20_000
_SIGNED: Final = range(-(1 << 63), 1 << 63)
_UNSIGNED: Final = range(1 << 64)


class ParquetRenderer:
    """A typed table with a row for each allocation site, for DuckDB, polars, pandas and Spark."""

    name: ClassVar[str] = "parquet"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    def render(self, report: Report) -> bytes:
        """One Parquet file. Raises `UsageError` where pyarrow is not installed."""
        return _file("parquet", site_table(report))


class ArrowRenderer:
    """The same table as an Arrow (Feather) file, which data frames map without reading it."""

    name: ClassVar[str] = "arrow"
    suffixes: ClassVar[tuple[str, ...]] = (".arrow", ".feather")

    def render(self, report: Report) -> bytes:
        """One Arrow IPC file. Raises `UsageError` where pyarrow is not installed."""
        return _file("arrow", site_table(report))


def site_table(report: Report) -> pa.Table:
    """A row for each site, with its finding; the columns of the CSV.

    Raises:
        UsageError: pyarrow is not installed.
    """
    rows = (
        _site_row(number, finding, site)
        for number, finding in enumerate(report.findings, start=1)
        for site in finding.sites
    )
    return _table(rows, _site_schema())


def reading_table(report: Report) -> pa.Table:
    """A row for each heap reading of the report's curves (long runs are thinned; `heaptrail parse` has all of them).

    Raises:
        UsageError: pyarrow is not installed.
    """
    rows = (
        {"heap": _text(series.heap, 160), "total_bytes": _int(series.total_bytes), **_numbers(point)}
        for series in report.series
        for point in series.points
    )
    return _table(rows, _reading_schema())


def write_observations(observations: Iterable[AnyObservation], out: BinaryIO, table_format: TableFormat) -> None:
    """One row for each observation, with the columns of every kind; written as they come, in constant memory.

    Raises:
        UsageError: pyarrow is not installed.
    """
    arrow = _pyarrow()
    schema = arrow.schema([(column.name, _arrow_type(arrow, column)) for column in COLUMNS])
    with _writer(arrow, out, schema, table_format) as writer:
        for batch in in_batches(observations, _ROWS_AT_ONCE):
            writer.write_batch(arrow.RecordBatch.from_pylist([_observation_row(one) for one in batch], schema=schema))


def _pyarrow() -> ModuleType:
    try:
        import pyarrow as pa  # noqa: PLC0415 - 50 ms that only a table pays
        import pyarrow.parquet  # noqa: PLC0415 - as above
    except ImportError as error:
        raise UsageError(
            f"typed tables need a package that is not installed ({error.name})",
            try_this='pip install "heaptrail[tables]", or --format csv',
        ) from error
    module: ModuleType = pa
    return module


def _writer(arrow: ModuleType, out: BinaryIO, schema: Any, table_format: TableFormat) -> Any:  # noqa: ANN401 - pyarrow's
    if table_format == "parquet":
        return arrow.parquet.ParquetWriter(out, schema, compression="zstd")
    return arrow.ipc.new_file(out, schema)


def _file(table_format: TableFormat, table: pa.Table) -> bytes:
    out = io.BytesIO()
    with _writer(_pyarrow(), out, table.schema, table_format) as writer:
        writer.write_table(table)
    return out.getvalue()


def _table(rows: Iterable[Row], schema: Any) -> pa.Table:  # noqa: ANN401 - pyarrow's
    return _pyarrow().Table.from_pylist(list(rows), schema=schema)


def _site_schema() -> Any:  # noqa: ANN401 - pyarrow's
    arrow = _pyarrow()
    text, whole, real = arrow.string(), arrow.int64(), arrow.float64()
    step = arrow.struct(
        [
            ("pc", arrow.uint64()),
            ("kind", text),
            ("function", text),
            ("file", text),
            ("line", whole),
            ("inlined", arrow.bool_()),
            ("wrapper", arrow.bool_()),
        ]
    )
    return arrow.schema(
        [
            ("finding", whole),
            ("class", text),
            ("function", text),
            ("file", text),
            ("line", whole),
            ("live_blocks", whole),
            ("live_bytes", whole),
            ("size_kind", text),
            ("sizes_bytes", arrow.list_(whole)),
            ("per_cycle_blocks", real),
            ("per_cycle_bytes", real),
            ("per_cycle_footprint_bytes", real),
            ("tasks", arrow.list_(text)),
            ("suppressed_by", text),
            ("stack", arrow.list_(step)),
            ("fingerprint", text),
        ]
    )


def _reading_schema() -> Any:  # noqa: ANN401 - pyarrow's
    arrow = _pyarrow()
    whole = ("total_bytes", "boot", "line", "cycle", "free_bytes", "min_free_bytes", "largest_free_bytes")
    columns = [("heap", arrow.string()), *((name, arrow.int64()) for name in whole)]
    return arrow.schema([*columns, ("t_s", arrow.float64()), ("tracer", arrow.string())])


def _site_row(number: int, finding: Finding, site: Site) -> Row:
    return {
        "finding": number,
        "class": finding.finding_class,
        "function": _text(site.name, 160),
        "file": _text(site.file, 400),
        "line": _int(site.line),
        "live_blocks": _int(site.live_blocks),
        "live_bytes": _int(site.live_bytes),
        "size_kind": site.size_kind,
        "sizes_bytes": [_int(size) for size in site.sizes_bytes],
        "per_cycle_blocks": site.per_cycle_blocks,
        "per_cycle_bytes": site.per_cycle_bytes,
        "per_cycle_footprint_bytes": site.per_cycle_footprint_bytes,
        "tasks": [_text(task, 160) for task in site.tasks],
        "suppressed_by": _text(finding.suppressed_by, 400),
        "stack": [_step(frame) for frame in site.frames],
        "fingerprint": site_fingerprint(site),
    }


@lru_cache(maxsize=65_536)
def _step(frame: Frame) -> Row:
    return {
        "pc": _address(frame.pc),
        "kind": frame.kind,
        "function": _text(frame.function, 160),
        "file": _text(frame.file, 400),
        "line": _int(frame.line),
        "inlined": frame.inlined,
        "wrapper": frame.wrapper,
    }


def _numbers(record: msgspec.Struct) -> Row:
    return {name: _value(value) for name, value in msgspec.structs.asdict(record).items()}


def _observation_row(observation: AnyObservation) -> Row:
    fields: Row = msgspec.to_builtins(observation)
    return {name: _address(value) if name in ADDRESSES else _value(value) for name, value in fields.items()}


def _value(value: Any) -> Any:  # noqa: ANN401 - the JSON types
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value in _SIGNED else None
    if isinstance(value, str):
        return _text(value, 2_000)
    if isinstance(value, list | tuple):
        return [{"pc": _address(step["pc"]), "kind": step["kind"]} for step in value]
    return value


def _address(value: int | None) -> int | None:
    return value if value is not None and value in _UNSIGNED else None


def _int(value: int | None) -> int | None:
    return value if value is not None and value in _SIGNED else None


def _text(text: str | None, limit: int) -> str | None:
    return None if text is None else printable(text, limit)


def _arrow_type(arrow: ModuleType, column: Column) -> Any:  # noqa: ANN401 - pyarrow's
    types = {
        "text": arrow.string,
        "whole": arrow.int64,
        "address": arrow.uint64,
        "real": arrow.float64,
        "truth": arrow.bool_,
        "frames": lambda: arrow.list_(arrow.struct([("pc", arrow.uint64()), ("kind", arrow.string())])),
    }
    return types[column.kind]()
