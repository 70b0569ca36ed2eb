"""The observations of a log, one after the other as they are read: as JSON lines, and as one CSV table.

A table of all kinds has the columns of all kinds, `kind` first; what a kind does not have is empty. The columns are
those of the records, so a new field is a new column.
"""

from __future__ import annotations

import csv
import io
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, NamedTuple, get_args, get_type_hints

import msgspec

from heaptrail.model.observations import AnyObservation, RawFrame
from heaptrail.reports.csvfile import cell_text
from heaptrail.reports.untrusted import json_for_logs
from heaptrail.units import format_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ColumnKind = Literal["text", "whole", "address", "real", "truth", "frames"]

ADDRESSES: Final = ("address", "new_address")
_CELL: Final = 2_000
_ROWS_AT_ONCE: Final = 2_000


class Column(NamedTuple):
    """A field of some kind of observation, and what its values are."""

    name: str
    kind: ColumnKind


def _columns() -> tuple[Column, ...]:
    found = {"kind": Column("kind", "text")}
    for record in get_args(AnyObservation):
        hints = get_type_hints(record)
        for field in msgspec.structs.fields(record):
            found.setdefault(field.name, Column(field.name, _kind(field.name, hints[field.name])))
    return tuple(found.values())


def _kind(name: str, hint: Any) -> ColumnKind:  # noqa: ANN401 - an annotation
    options = {option for option in (get_args(hint) or (hint,)) if option is not type(None)}
    if RawFrame in options:
        return "frames"
    if name in ADDRESSES:
        return "address"
    kinds: dict[Any, ColumnKind] = {int: "whole", float: "real", bool: "truth"}
    return next((kinds[option] for option in options if option in kinds), "text")


COLUMNS: Final = _columns()


def in_batches(observations: Iterable[AnyObservation], size: int) -> Iterator[list[AnyObservation]]:
    """The observations in lists of at most `size`."""
    source = iter(observations)
    while batch := list(islice(source, size)):
        yield batch


def write_json_lines(observations: Iterable[AnyObservation], out: BinaryIO) -> None:
    """One JSON object a line (SPEC.md, "Observations")."""
    encoder = msgspec.json.Encoder()
    out.writelines(json_for_logs(encoder.encode(observation)) + b"\n" for observation in observations)


def write_csv(observations: Iterable[AnyObservation], out: BinaryIO) -> None:
    """One table (RFC 4180), UTF-8, lines end in CR LF. Frames stand innermost first: `call 0x08396d52 < call 0x…`."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([column.name for column in COLUMNS])
    for batch in in_batches(observations, _ROWS_AT_ONCE):
        writer.writerows(_row(observation) for observation in batch)
        out.write(file.getvalue().encode())
        file.seek(0)
        file.truncate()
    out.write(file.getvalue().encode())


def _row(observation: AnyObservation) -> list[object]:
    fields = msgspec.to_builtins(observation)
    return [_cell(fields.get(column.name)) for column in COLUMNS]


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return cell_text(value, _CELL)
    if isinstance(value, list | tuple):
        return " < ".join(f"{step['kind']} {format_address(step['pc'])}" for step in value)
    return value
