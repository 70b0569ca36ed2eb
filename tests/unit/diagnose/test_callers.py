"""Backtraces that a scan spoiled: one site again, the count said, what was left out kept beside it."""

from __future__ import annotations

import numpy as np

from heaptrail.diagnose import diagnose
from heaptrail.diagnose.callers import Checked
from heaptrail.model.evidence import Evidence, LiveDump
from heaptrail.model.observations import Block, Dump, RawFrame
from heaptrail.model.report import Frame, ImageInfo
from heaptrail.model.stream import Events, StackDefinition, Stream, StreamCounts
from heaptrail.model.verdict import JudgeSettings
from heaptrail.symbols import Callers, FakeSymbolizer, NoSymbols
from heaptrail.wire.lives import lifetimes_of

ALLOCATE, SOFTVOL, STALE = (RawFrame(pc, "call") for pc in (0x10, 0x20, 0x99))
TRUE = (ALLOCATE, SOFTVOL)
SCANNED = (ALLOCATE, STALE, SOFTVOL)
IMAGE = ImageInfo(name="a.elf", build_id=None, arch="arm", bits=32, debug_info=True)


class Knowing(FakeSymbolizer):
    """Knows that nothing at STALE calls anything."""

    def callers(self, stack: tuple[RawFrame, ...]) -> Callers:
        return Callers(
            tuple(frame for frame in stack if frame != STALE), tuple(frame for frame in stack if frame == STALE)
        )


def block(address: int, frames: tuple[RawFrame, ...]) -> Block:
    return Block(line=1, dump=1, address=address, size_bytes=96, size_kind="requested", frames=frames)


def evidence() -> Evidence:
    blocks = (block(0x100, TRUE), block(0x200, SCANNED), block(0x300, SCANNED))
    return Evidence(dumps=(LiveDump(dump=Dump(line=1, dump=1), blocks=blocks),))


def test_blocks_of_one_site_are_one_site_again_and_it_is_said() -> None:
    table = {frame.pc: (Frame(pc=frame.pc, kind="call"),) for frame in SCANNED}
    report = diagnose(evidence(), Knowing(table, image=IMAGE), JudgeSettings(), versions={}, allow_mismatch=False)

    (site,) = (site for finding in report.findings for site in finding.sites)
    assert [frame.pc for frame in site.frames] == [0x10, 0x20]
    assert (site.live_blocks, site.stale_pcs) == (3, (0x99,))
    (problem,) = (problem for problem in report.problems if problem.what == "stale_frames")
    assert problem.text.startswith("1 frame of 1 different backtrace left out")


def test_what_needs_no_mending_is_the_same_object() -> None:
    clean = Evidence(dumps=(LiveDump(dump=Dump(line=1, dump=1), blocks=(block(0x100, TRUE),)),))

    assert Checked(Knowing({}, image=IMAGE)).evidence(clean) is clean
    assert Checked(NoSymbols()).evidence(evidence()) == evidence()


def test_stacks_of_a_stream_that_have_become_equal_are_one_within_their_run() -> None:
    count = 4
    zeros = np.zeros(count, dtype=np.int64)
    events = Events(
        kind=np.zeros(count, dtype=np.uint8),
        run=np.array([0, 0, 1, 1], dtype=np.int32),
        time=zeros,
        birth=np.arange(1, count + 1),
        age=np.zeros(count, dtype=np.uint32),
        address=np.arange(count, dtype=np.uint64),
        size=zeros,
        stack=np.array([1, 2, 2, 1], dtype=np.uint16),
        task=np.zeros(count, dtype=np.int16),
    )
    stacks = {(run, number): frames for run in (0, 1) for number, frames in ((1, TRUE), (2, SCANNED))}
    definitions = {key: StackDefinition(frames, 0, 1, cut=False) for key, frames in stacks.items()}
    stream = Stream(events, lifetimes_of(events), definitions, {}, StreamCounts(), ())
    checked = Checked(Knowing({}, image=IMAGE))

    mended = checked.stream(stream)

    assert mended.events.stack.tolist() == [1, 1, 1, 1]
    assert {stack.frames for stack in mended.stacks.values()} == {TRUE}
    assert checked.stale_pcs == {TRUE: (0x99,)}
