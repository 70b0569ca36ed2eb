"""The fuzz target's entry point under Hypothesis: noise, and golden logs that were mangled as serial lines mangle."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from fuzz.fuzz_reading import read_any
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptrail.dialects import REGISTRY

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "dialects"
HEADER = b'{"version": 2, "width": 80, "height": 24}\n'


@st.composite
def mangled(draw: st.DrawFn, dialect: str) -> bytes:
    """A golden log with pieces lost, doubled, overwritten, and put elsewhere."""
    logs = sorted((GOLDEN / dialect).glob("*.txt"))
    data = bytearray(draw(st.sampled_from(logs)).read_bytes())
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 200)))
        match draw(st.sampled_from(["lose", "double", "overwrite", "move"])):
            case "lose":
                del data[start:end]
            case "double":
                data[start:start] = data[start:end]
            case "overwrite":
                data[start:end] = draw(st.binary(max_size=20))
            case _:
                piece = data[start:end]
                del data[start:end]
                at = draw(st.integers(0, len(data)))
                data[at:at] = piece
    return bytes(data)


@pytest.mark.parametrize("dialect", sorted(REGISTRY))
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_mangled_log_is_read_to_its_end(dialect: str, data: st.DataObject) -> None:
    assert all(json.loads(each)["kind"] for each in read_any(data.draw(mangled(dialect)), dialect))


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=2000), st.binary(max_size=500).map(lambda data: HEADER + data)))
def test_any_bytes_are_read_to_their_end(data: bytes) -> None:
    assert all(json.loads(each)["kind"] for each in read_any(data))


@pytest.mark.parametrize(
    "line",
    [
        b"Name State Pri HWM Idx\nx" + b" " * 370 + b"y",
        b"001: ptr = 0x08760960, size = 0x00000f00, thread = a" + b" " * 330 + b"\xff",
        b"c906>memleak 1 " + b"a " * 190 + b"\xff",
        b"\x1b[" * 250,
        b"\x1b]" * 250,
        b"a\b" * 250,
        b"[" * 390 + b"Bytes",
        b"Total" + b" " * 380 + b"Bytes",
        b"backtrace" + b" " * 380,
    ],
)
def test_no_line_takes_time_out_of_proportion(line: bytes) -> None:
    """Half a megabyte of the same nasty line: a pattern that backtracks would take minutes."""
    data = (line + b"\n") * (500_000 // len(line))
    started = time.process_time()

    read_any(data)

    assert time.process_time() - started < 10
