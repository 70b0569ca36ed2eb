"""Fuzz target: any bytes as the agent's event stream, in two pieces, judged to the end."""

from __future__ import annotations

from fuzz.harness import fuzz

from heaptrail.analysis.lifetimes import judge_histories
from heaptrail.model.verdict import JudgeSettings
from heaptrail.wire import Decoder, WireLimits, decode

LIMITS = WireLimits(events=500, definitions=50, stretch_bytes=300)


def wire_any(data: bytes) -> None:
    """Raises AssertionError where a promise is broken, and anything else where something breaks."""
    pieces = Decoder(LIMITS)
    cut = data[0] if data else 0
    pieces.feed(data[:cut])
    pieces.feed(data[cut:])
    stream = pieces.stream()
    assert stream.counts == decode(data, LIMITS).counts
    assert len(stream.events) <= 500
    judge_histories(stream, JudgeSettings())


if __name__ == "__main__":
    fuzz(wire_any)
