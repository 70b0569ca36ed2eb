"""Backtraces before they are judged: words that are no callers are left out, so that one site is one stack.

What was left out is counted here, said as a problem, and kept beside the site.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from heaptrail.model.report import ReportProblem
from heaptrail.units import plural

if TYPE_CHECKING:
    from heaptrail.model.evidence import Evidence, LiveDump
    from heaptrail.model.observations import Block, RawFrame, SiteCount
    from heaptrail.model.stream import Stream
    from heaptrail.symbols import Symbolizer

    Stack = tuple[RawFrame, ...]


class Checked:
    """Checks each different backtrace once.

    Args:
        symbolizer: Knows what calls what; `NoSymbols()` leaves everything as it is.

    Attributes:
        stale_pcs: For each backtrace that something was left out of, as it is now: the addresses left out.
    """

    def __init__(self, symbolizer: Symbolizer) -> None:
        self._symbolizer = symbolizer
        self._kept: dict[Stack, Stack] = {}
        self._stale_frames = 0
        self._mended_stacks = 0
        self.stale_pcs: dict[Stack, tuple[int, ...]] = {}

    def stack(self, stack: Stack) -> Stack:
        """The frames that stay."""
        kept = self._kept.get(stack)
        if kept is None:
            checked = self._symbolizer.callers(stack)
            kept = self._kept[stack] = checked.kept
            if checked.stale:
                self._mended_stacks += 1
                self._stale_frames += len(checked.stale)
                known = self.stale_pcs.get(kept, ())
                self.stale_pcs[kept] = (*known, *dict.fromkeys(f.pc for f in checked.stale if f.pc not in known))
        return kept

    def evidence(self, evidence: Evidence) -> Evidence:
        """The same evidence with checked backtraces; the very same where nothing changes."""
        if self._symbolizer.image is None:
            return evidence
        dumps = tuple(self._dump(dump) for dump in evidence.dumps)
        sites = tuple(self._site(site) for site in evidence.sites)
        if not self.stale_pcs:
            return evidence
        return msgspec.structs.replace(evidence, dumps=dumps, sites=sites)

    def stream(self, stream: Stream) -> Stream:
        """The same stream with checked stacks; those that have become equal are one."""
        stacks = {key: replace(stack, frames=self.stack(stack.frames)) for key, stack in stream.stacks.items()}
        if not self.stale_pcs:
            return stream
        number = stream.events.stack.copy()
        first: dict[tuple[int, Stack], int] = {}
        for (run, old), stack in stacks.items():
            same = first.setdefault((run, stack.frames), old)
            if same != old:
                number[(stream.events.run == run) & (stream.events.stack == old)] = np.uint16(same)
        return replace(stream, stacks=stacks, events=replace(stream.events, stack=number))

    def problems(self) -> tuple[ReportProblem, ...]:
        """What was left out, as a sentence."""
        if not self._stale_frames:
            return ()
        text = (
            f"{plural(self._stale_frames, 'frame')} of {plural(self._mended_stacks, 'different backtrace')} left out: "
            "the ELF shows that the code there does not call the frame before it (words that earlier calls left on the "
            "stack)"
        )
        return (ReportProblem(what="stale_frames", text=text),)

    def _dump(self, dump: LiveDump) -> LiveDump:
        known: dict[int, Stack] = {}  # blocks of a site share their tuple, and to hash a stack a million times is slow
        blocks: list[Block] = []
        for block in dump.blocks:
            kept = known.get(id(block.frames))
            if kept is None:
                kept = known[id(block.frames)] = self.stack(block.frames)
            same = len(kept) == len(block.frames)
            blocks.append(block if same else msgspec.structs.replace(block, frames=kept))
        changed = any(new is not old for new, old in zip(blocks, dump.blocks, strict=True))
        return msgspec.structs.replace(dump, blocks=tuple(blocks)) if changed else dump

    def _site(self, site: SiteCount) -> SiteCount:
        frames, freed_by = self.stack(site.frames), self.stack(site.freed_by)
        if len(frames) == len(site.frames) and len(freed_by) == len(site.freed_by):
            return site
        return msgspec.structs.replace(site, frames=frames, freed_by=freed_by)
