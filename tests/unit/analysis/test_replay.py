"""A stream of events says as much as dumps with birth stamps."""

from __future__ import annotations

from heaptrail.analysis.replay import dumps_from_events
from heaptrail.analysis.verdict import judge
from heaptrail.model.evidence import Evidence
from heaptrail.model.observations import Event, RawFrame
from heaptrail.model.verdict import JudgeSettings

LEAK, SCRATCH = ((RawFrame(pc, "call"), RawFrame(0x9000, "call")) for pc in (0x1000, 0x2000))


def stream(cycles: int) -> tuple[Event, ...]:
    """Each cycle: a scratch buffer comes and goes, and one block of 40 bytes stays."""
    events: list[Event] = []
    for cycle in range(cycles):
        line = 3 * cycle + 1
        events += [
            Event(line=line, cycle=cycle, op="alloc", address=0x100, size_bytes=512, frames=SCRATCH),
            Event(line=line + 1, cycle=cycle, op="alloc", address=0x1000 + 64 * cycle, size_bytes=40, frames=LEAK),
            Event(line=line + 2, cycle=cycle, op="free", address=0x100),
        ]
    return tuple(events)


def test_a_stream_alone_names_the_leaking_site() -> None:
    verdict = judge(Evidence(events=stream(60)), JudgeSettings(warmup_cycles=10))
    assert verdict.verdict == "leak"
    assert [site.frames for site in verdict.sites if site.site_class == "leak"] == [LEAK]


def test_a_reallocation_keeps_the_blocks_birth_and_stack() -> None:
    events = (
        Event(line=1, cycle=2, op="alloc", address=0x100, size_bytes=16, frames=LEAK),
        Event(line=2, cycle=9, op="realloc", address=0x100, new_address=0x200, size_bytes=64, frames=SCRATCH),
    )
    block = dumps_from_events(events)[-1].blocks[0]
    assert (block.address, block.size_bytes, block.born_cycle, block.frames) == (0x200, 64, 2, LEAK)


def test_a_reset_forgets_all_blocks_and_unknown_frees_are_ignored() -> None:
    events = (
        Event(line=1, boot=1, cycle=0, op="alloc", address=0x100, size_bytes=16, frames=LEAK),
        Event(line=2, boot=2, cycle=0, op="free", address=0x500),
        Event(line=3, boot=2, cycle=1, op="alloc", address=0x300, size_bytes=16, frames=LEAK),
    )
    dumps = dumps_from_events(events)
    assert [block.address for block in dumps[-1].blocks] == [0x300]


def test_no_allocation_no_listing() -> None:
    assert dumps_from_events(()) == ()
    assert dumps_from_events((Event(line=1, op="free", address=1),)) == ()
