"""Hypothesis strategies that several tests share: one section for each kind of record. Append yours."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from heaptrail.model.evidence import Evidence, FootprintRule, LiveDump
from heaptrail.model.observations import Block, Dump, Event, HeapSample, RawFrame
from heaptrail.model.report import SCHEMA, Report
from heaptrail.model.verdict import JudgeSettings

T = TypeVar("T", bound=msgspec.Struct)

# --- Console lines that are none of ours ---------------------------------------------------------------------------

NOISE_WORDS = ("audio", "render", "wifi", "rssi -61", "underrun", "decode ok", "pts=1234", "[I] tag:", "0x12", "é", "%")


def noise_lines() -> st.SearchStrategy[str]:
    """Log lines of other tasks: nothing in them looks like a heap record or a prompt."""
    return st.lists(st.sampled_from(NOISE_WORDS), min_size=1, max_size=6).map(" ".join)


def line_prefixes() -> st.SearchStrategy[str]:
    """What terminals and loggers put in front of a line. The time stands still, so no clock jumps."""
    return st.sampled_from(
        [
            "",
            "[12:34:56.789] ",
            "12:34:56 ",
            "[2026-01-02 03:04:05] ",
            "2026-01-02T03:04:05.678Z ",
            "Jan  2 03:04:05 ",
            "[  123.456789] ",
            "[ 5286.76] [ 9] [  INFO] [ap] ",
            "I (1234) tag: ",
            "01-02 03:04:05.678  1234  5678 I console : ",
        ]
    )


# --- Tina: heap tables -----------------------------------------------------------------------------------------------


class HeapTable(NamedTuple):
    """A `free` table and what it says."""

    lines: tuple[str, ...]
    total_bytes: int
    free_bytes: int
    min_free_bytes: int


@st.composite
def heap_tables(draw: st.DrawFn, *, free_at_most: int = 1 << 30) -> HeapTable:
    """Tables as the firmware prints them, or with the blanks squeezed as a crash dump does."""
    free = draw(st.integers(1, free_at_most))
    low = draw(st.integers(0, free))
    total = draw(st.integers(free, 1 << 31))
    figures = (("Total Heap Size", total), ("           Free", free), ("       Min Free", low))
    lines = [f"{label} : {value:8d} Bytes    ({value >> 10:5d} KB)" for label, value in figures]
    if draw(st.booleans()):
        lines = [" ".join(line.split()) for line in lines]
    return HeapTable(tuple(lines), total, free, low)


# --- Tina: records of live blocks ------------------------------------------------------------------------------------


class MemleakRecord(NamedTuple):
    """A block of a listing, without its number."""

    address: int
    size_bytes: int
    task: str
    frames: tuple[int, ...]


def memleak_records() -> st.SearchStrategy[MemleakRecord]:
    """Blocks as the tracer knows them: 32-bit, a task's name may hold blanks, a frame is never null."""
    return st.builds(
        MemleakRecord,
        st.integers(0x0800_0000, 0x0900_0000).map(lambda value: value & ~7),
        st.integers(1, 1 << 20),
        st.sampled_from(["AudioRender", "Tmr Svc", "usb-hardware-sc", "ISR", "CLI"]),
        st.lists(st.integers(0x0830_0000, 0x0840_0000), max_size=8).map(tuple),
    )


def print_listing(records: list[MemleakRecord]) -> list[str]:
    """The lines that `memleak 0` prints for these blocks."""
    lines = []
    for number, record in enumerate(records, 1):
        head = f"    {number:03d}: ptr = 0x{record.address:08x}, size = 0x{record.size_bytes:08x}"
        lines.append(f"{head}, thread = {record.task}")
        lines += [f"        backtrace : 0x{pc:08X}" for pc in record.frames]
    return lines


# --- reports: any record, built from its own annotations -----------------------------------------------------------

HOSTILE_TEXTS = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "\u202egnp.exe",
    "\udc80\ud800",
    "{{ 7 * 7 }}{% raw %}",
    "]]>--><!--",
    "name\r\nwith\tlines",
    "\x00",
    "\U000e0041",
    "::error file=a.c,line=1::pwned",
    "::add-mask::e",
    "##[add-matcher]x.json",
    "##vso[task.setvariable variable=PATH]/evil",
    "##teamcity[buildStop]",
    "=1+1",
    "@everyone",
    "![x](https://e.vil/x.png)",
)

texts = st.one_of(st.text(max_size=30), st.sampled_from(HOSTILE_TEXTS), st.text(st.characters(), max_size=8))
"""Any text that a device may have sent: every category of Unicode, lone surrogates too."""


def records(record: type[T]) -> st.SearchStrategy[T]:
    """Any valid instance of a msgspec record, its fields drawn by their annotations."""
    hints = get_type_hints(record, include_extras=True)
    fields = {field.name: _values(hints[field.name]) for field in msgspec.structs.fields(record)}
    return st.builds(record, **fields)


def _values(hint: Any) -> st.SearchStrategy[Any]:
    arguments = get_args(hint)
    found: st.SearchStrategy[Any]
    match get_origin(hint):
        case origin if origin is Annotated:
            bounds = arguments[1]
            found = _values(arguments[0]).filter(lambda value: _allowed(value, bounds))
        case origin if origin is Literal:
            found = st.sampled_from(arguments)
        case origin if origin in (Union, types.UnionType):
            found = st.one_of([_values(argument) for argument in arguments])
        case origin if origin is tuple and arguments[-1] is ...:
            found = st.lists(_values(arguments[0]), max_size=3).map(tuple)
        case origin if origin is tuple:
            found = st.tuples(*[_values(argument) for argument in arguments])
        case origin if origin is dict:
            found = st.dictionaries(_values(arguments[0]), _values(arguments[1]), max_size=3)
        case _:
            found = _PLAIN[hint] if hint in _PLAIN else st.deferred(lambda: records(hint))
    return found


def _allowed(value: Any, bounds: msgspec.Meta) -> bool:
    """Whether a value keeps the bounds that its field is annotated with."""
    if isinstance(value, str):
        return (bounds.min_length or 0) <= len(value) <= (bounds.max_length or len(value))
    return (bounds.ge is None or value >= bounds.ge) and (bounds.le is None or value <= bounds.le)


_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
}

reports = records(Report).map(lambda report: msgspec.structs.replace(report, schema=SCHEMA))
"""Any valid report, sensible or not."""

# --- Evidence: any run that the records allow, sensible or not -----------------------------------------------------

_STACKS = tuple(tuple(RawFrame(0x1000 * site + depth, "call") for depth in range(3)) for site in range(4))
_SMALL = st.integers(min_value=0, max_value=60)
_BYTES = st.integers(min_value=0, max_value=2**33)
_TIMES = st.none() | st.floats(min_value=-1e6, max_value=1e9, allow_nan=False)


def heap_samples() -> st.SearchStrategy[HeapSample]:
    return st.builds(
        HeapSample,
        line=st.integers(1, 10_000),
        boot=st.integers(1, 3),
        cycle=st.none() | _SMALL,
        t_s=_TIMES,
        heap=st.none() | st.sampled_from(["sram", "psram"]),
        total_bytes=st.none() | _BYTES,
        free_bytes=st.none() | _BYTES,
        used_bytes=st.none() | _BYTES,
        min_free_bytes=st.none() | _BYTES,
        largest_free_bytes=st.none() | _BYTES,
        tracer=st.sampled_from([None, "on", "off"]),
    )


def live_blocks() -> st.SearchStrategy[Block]:
    return st.builds(
        Block,
        line=st.integers(1, 10_000),
        boot=st.integers(1, 3),
        dump=st.integers(0, 5),
        address=st.integers(0, 40).map(lambda slot: 0x2000_0000 + 16 * slot),
        size_bytes=st.integers(0, 5_000),
        size_kind=st.sampled_from(["requested", "block"]),
        task=st.none() | st.sampled_from(["AudioRender", "tcpip"]),
        sequence=st.none() | st.integers(0, 500),
        born_cycle=st.none() | _SMALL,
        freed=st.booleans(),
        frames=st.sampled_from([(), *_STACKS]),
    )


def live_dumps() -> st.SearchStrategy[LiveDump]:
    moments = st.builds(
        Dump,
        line=st.integers(1, 10_000),
        boot=st.integers(1, 3),
        cycle=st.none() | _SMALL,
        t_s=_TIMES,
        dump=st.integers(0, 5),
        complete=st.none() | st.booleans(),
    )
    return st.builds(
        LiveDump,
        dump=moments,
        blocks=st.lists(live_blocks(), max_size=25).map(tuple),
        armed_cycle=st.none() | _SMALL,
        workload=st.sampled_from([None, "running", "stopped"]),
    )


def events() -> st.SearchStrategy[Event]:
    return st.builds(
        Event,
        line=st.integers(1, 10_000),
        boot=st.integers(1, 3),
        cycle=st.none() | _SMALL,
        t_s=_TIMES,
        op=st.sampled_from(["alloc", "free", "realloc"]),
        address=st.integers(0, 20),
        new_address=st.none() | st.integers(0, 20),
        size_bytes=st.none() | st.integers(0, 5_000),
        frames=st.sampled_from([(), *_STACKS]),
    )


def evidences() -> st.SearchStrategy[Evidence]:
    """Evidence with contradictory moments, repeated dumps and missing fields: whatever a broken log may leave."""
    rules = st.builds(
        FootprintRule,
        header_bytes=st.sampled_from([0, 4, 8, 16]),
        align_bytes=st.sampled_from([4, 8, 16]),
        basis=st.just("a rule"),
    )
    return st.builds(
        Evidence,
        samples=st.lists(heap_samples(), max_size=60).map(tuple),
        dumps=st.lists(live_dumps(), max_size=6).map(tuple),
        events=st.lists(events(), max_size=40).map(tuple),
        footprint=st.none() | rules,
        cycles_from=st.sampled_from([None, "marks"]),
        boots=st.integers(1, 3),
    )


def judge_settings() -> st.SearchStrategy[JudgeSettings]:
    return st.builds(
        JudgeSettings,
        tolerate_bytes_per_cycle=st.none() | st.floats(0, 1e6),
        confidence=st.floats(0.5, 0.9999),
        largest_single_loss_bytes=st.integers(1, 10_000),
        warmup_cycles=st.integers(0, 100),
    )
