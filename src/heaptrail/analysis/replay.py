"""A stream of allocations and frees, played back into listings of live blocks.

With a full stream every birth is known to the cycle. Playing it back at some two dozen moments per boot lets the rest
of the analysis see one kind of evidence only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.model.evidence import LiveDump
from heaptrail.model.observations import Block, Dump

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.observations import Event

_LISTINGS = 24


def dumps_from_events(events: Sequence[Event]) -> tuple[LiveDump, ...]:
    """Listings at evenly spaced events of each boot, the last one at its end; empty without an allocation.

    A reallocation keeps the block's birth and stack. Frees of blocks that were never seen to be allocated are ignored.
    """
    dumps: list[LiveDump] = []
    start = 0
    while start < len(events):
        stop = start
        while stop < len(events) and events[stop].boot == events[start].boot:
            stop += 1
        dumps += _one_boot(events[start:stop], len(dumps))
        start = stop
    return tuple(dumps)


def _one_boot(events: Sequence[Event], number: int) -> list[LiveDump]:
    if not any(event.op == "alloc" for event in events):
        return []
    armed = events[0].cycle
    step = max(len(events) / _LISTINGS, 1.0)
    wanted = {min(round(step * (k + 1)), len(events)) - 1 for k in range(_LISTINGS)} | {len(events) - 1}
    live: dict[int, Block] = {}
    dumps: list[LiveDump] = []
    for index, event in enumerate(events):
        _apply(live, event)
        if index in wanted:
            head = Dump(line=event.line, boot=event.boot, cycle=event.cycle, t_s=event.t_s, dump=number + len(dumps))
            dumps.append(LiveDump(dump=head, blocks=tuple(live.values()), armed_cycle=armed, workload="running"))
    return dumps


def _apply(live: dict[int, Block], event: Event) -> None:
    if event.op == "free":
        live.pop(event.address, None)
        return
    before = live.pop(event.address, None) if event.op == "realloc" else None
    address = event.address if event.new_address is None else event.new_address
    live[address] = Block(
        line=event.line,
        boot=event.boot,
        dump=0,
        address=address,
        size_bytes=event.size_bytes or 0,
        size_kind="requested",
        task=event.task,
        sequence=event.line if before is None else before.sequence,
        born_cycle=event.cycle if before is None else before.born_cycle,
        frames=event.frames if before is None else before.frames,
    )
