"""Fuzz target: any bytes as a log.

A reading ends, raises nothing but `HeaptrailError`, and says only what JSON can hold and what the dialect's own limits
allow.
"""

from __future__ import annotations

import io
import re

import msgspec
from fuzz.harness import fuzz

from heaptrail.dialects import REGISTRY
from heaptrail.errors import HeaptrailError
from heaptrail.limits import Limits
from heaptrail.model.observations import Block, HeapSample
from heaptrail.reading.opening import Opened
from heaptrail.reading.session import Session, make_dialects
from heaptrail.reading.sources import Chunk, Source

NAMES = ["auto", *sorted(REGISTRY)]
LIMITS = Limits(line_bytes=512, frames_per_block=4, records_per_dump=50)


def read_any(data: bytes, dialect: str = "auto") -> list[bytes]:
    """Read `data` as a log; the observations as JSON. Raises AssertionError where a promise is broken."""
    try:
        source = Source(Opened(io.BufferedReader(io.BytesIO(data)), "fuzz", len(data)), LIMITS)  # type: ignore[arg-type]
        marks = (re.compile("round"), re.compile(r"\d+ done$")) if len(data) % 2 else (None, None)
        session = Session(make_dialects(dialect, LIMITS), LIMITS, cycle_mark=marks[0], boot_mark=marks[1])
        found = []
        for item in source:
            found += session.chunk(item) if isinstance(item, Chunk) else session.marker(item)
        found += session.finish()
    except HeaptrailError:
        return []
    assert session.line <= data.count(b"\n") + data.count(b"\r") + data.count(b"\\n") + 1
    for observation in found:
        assert 0 <= observation.line <= session.line
        assert 1 <= observation.boot <= session.boot
        if isinstance(observation, Block):
            assert len(observation.frames) <= LIMITS.frames_per_block
        if isinstance(observation, HeapSample) and observation.dialect == "tina":
            free, total = observation.free_bytes, observation.total_bytes
            assert free is None or total is None or free <= total
    return [msgspec.json.encode(observation) for observation in found]


def reading_any(data: bytes) -> None:
    """Any bytes as a log of the dialect that the first byte names."""
    read_any(data[1:], NAMES[data[0] % len(NAMES)] if data else "auto")


if __name__ == "__main__":
    fuzz(reading_any)
