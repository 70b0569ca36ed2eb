"""Allocations and frees put together, all at once.

A free names its block by age: the number of allocations since. So it finds its allocation however often the address
was used again, and whatever was lost in between. Only a free of unknown age is found by address: it ends the block that
was put there last. A block whose address was given out again without a free in sight is gone, at an unknown moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from heaptrail.model.stream import Ending, Kind, Lifetimes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heaptrail.model.stream import Events, Ints

_DENSE = 4
"""A table of all numbers is used where it has at most this many entries for each allocation; else a binary search."""


def lifetimes_of(events: Events) -> Lifetimes:
    """The life of every allocation of a stream."""
    born = np.flatnonzero(events.kind == Kind.ALLOC)
    died = np.full(len(born), -1, dtype=np.int64)
    by_age = np.flatnonzero(events.kind == Kind.FREE)
    block = _find(events, born, by_age)
    hit = block >= 0
    # Backwards, so that of two frees of one block (damaged input) the first is kept.
    died[block[hit][::-1]] = by_age[hit][::-1]

    size, address = events.size[born], events.address[born]
    moves = np.flatnonzero(events.kind == Kind.REALLOC)
    moved = _find(events, born, moves)
    moves, moved = moves[moved >= 0], moved[moved >= 0]
    places = _Places(events, born, moves, moved)
    size[moved], address[moved] = events.size[moves], events.address[moves]

    by_address = np.flatnonzero(events.kind == Kind.FREE_AT)
    if len(by_address):
        _end_by_address(events, places, by_address, died)
    ending = np.where(died >= 0, Ending.FREED, Ending.LIVE).astype(np.uint8)
    _end_by_reuse(events, places, born, ending, address)
    frees = len(by_age) + len(by_address)
    matched = int((died >= 0).sum())
    return Lifetimes(born, died, ending, size, address, frees - matched)


def _find(events: Events, born: Ints, at: Ints) -> Ints:
    """The allocation that each event of `at` names by its age, -1 where it is not in the stream."""
    if len(born) == 0 or len(at) == 0:
        return np.full(len(at), -1, dtype=np.int64)
    births, block = events.birth[born], np.arange(len(born))
    if bool((births[1:] < births[:-1]).any()):  # never as sent; a damaged head that passed its checksum may do it
        block = np.argsort(births, kind="stable")
        births = births[block]
    wanted = events.birth[at] - events.age[at]
    first, span = int(births[0]), int(births[-1] - births[0]) + 1
    if span <= _DENSE * len(born) + 1024:
        table = np.full(span, -1, dtype=np.int64)
        table[births - first] = block
        inside = (wanted >= first) & (wanted < first + span)
        return np.where(inside, table[np.where(inside, wanted - first, 0)], -1)
    found = np.minimum(np.searchsorted(births, wanted), len(born) - 1)
    return np.where(births[found] == wanted, block[found], -1)


class _Places:
    """Who was put where, and when: allocations and moves, as rows of `address`, `event`, `block`.

    A move also empties the old place, which is a row with block -1.
    """

    def __init__(self, events: Events, born: Ints, moves: Ints, moved: Ints) -> None:
        order = np.lexsort((moves, moved))
        moves, moved = moves[order], moved[order]
        again = np.zeros(len(moves), dtype=bool)
        again[1:] = moved[1:] == moved[:-1]
        left = np.where(again, events.address[np.roll(moves, 1)], events.address[born[moved]])
        away = left != events.address[moves]
        self.address = np.concatenate((events.address[born], left[away], events.address[moves]))
        self.event = np.concatenate((born, moves[away], moves))
        nobody = np.full(int(away.sum()), -1, dtype=np.int64)
        self.block = np.concatenate((np.arange(len(born)), nobody, moved))

    def at(self, addresses: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], Ints, Ints]:
        """The rows of these addresses (sorted, distinct), ordered by address and then by event."""
        place = np.minimum(np.searchsorted(addresses, self.address), len(addresses) - 1)
        rows = np.flatnonzero(addresses[place] == self.address)
        rows = rows[np.lexsort((self.event[rows], self.address[rows]))]
        return self.address[rows], self.event[rows], self.block[rows]


def _end_by_address(events: Events, places: _Places, frees: Ints, died: Ints) -> None:
    """Frees of unknown age: each ends the block that was put at its address last, if that still lived."""
    addresses = np.unique(events.address[frees])
    at, when, who = places.at(addresses)
    if len(at) == 0:
        return
    group = np.searchsorted(addresses, at)
    width = np.int64(len(events))
    key = group * width + when
    found = np.searchsorted(key, np.searchsorted(addresses, events.address[frees]) * width + frees) - 1
    usable = (found >= 0) & (at[found] == events.address[frees]) & (who[found] >= 0)
    usable &= events.run[when[found]] == events.run[frees]
    frees, block = frees[usable], who[found[usable]]
    alive = (died[block] < 0) | (died[block] > frees)
    died[block[alive][::-1]] = frees[alive][::-1]


def _end_by_reuse(
    events: Events, places: _Places, born: Ints, ending: NDArray[np.uint8], address: NDArray[np.uint64]
) -> None:
    """Blocks that seem to live at an address where another was put later, or in a run that is over, are gone."""
    live = np.flatnonzero(ending == Ending.LIVE)
    if len(live) == 0:
        return
    ending[live[events.run[born[live]] != events.run[-1]]] = Ending.UNSEEN
    at, _, who = places.at(np.unique(address[live]))
    followed = np.zeros(len(at), dtype=bool)
    followed[:-1] = (at[1:] == at[:-1]) & (who[1:] != who[:-1]) & (who[1:] >= 0)
    gone = who[followed & (who >= 0)]
    # A block that was moved away from the reused place still lives at its last one.
    gone = gone[address[gone] == at[followed & (who >= 0)]]
    ending[gone[ending[gone] == Ending.LIVE]] = Ending.UNSEEN
