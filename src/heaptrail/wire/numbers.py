"""Numbers across frames: what was lost, where the device began anew, and 32-bit counters unwrapped.

Each events frame and each greeting says the number of its next event. A number that is too high tells how many are
missing; one that is too low tells that the device began anew, since a line keeps its order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from heaptrail.model.stream import Ints
    from heaptrail.wire.events import Heads

_RUN_STEP = 1 << 34
"""Births of a new run begin this much higher, so that no age (32 bits) reaches back over a restart."""


def wrapped(difference: Ints) -> Ints:
    """A difference of 32-bit counters as the signed number that it most likely is."""
    return ((difference + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


class Unwrapped(NamedTuple):
    """For each events frame its run and its head's numbers, unwrapped; and the run at each numbered frame's place."""

    run: Ints
    birth: Ints
    time: Ints
    place: Ints
    run_at_place: Ints
    run_before: int

    def run_at(self, place: int) -> int:
        """The run that a frame at this place of the stretch belongs to."""
        before = int(np.searchsorted(self.place, place))
        return self.run_before if before == 0 else int(self.run_at_place[before - 1])


@dataclass(slots=True)
class Numbering:
    """Where the last stretch ended, and what was found missing."""

    run: int = 0
    lost: int = 0
    restarts: int = 0
    _expected: int | None = None
    _birth: int = 0
    _full_birth: int = 0
    _time: int = 0
    _full_time: int = 0

    def follow(self, heads: Heads, greetings: list[tuple[int, int]]) -> Unwrapped:
        """Go on over one stretch.

        Args:
            heads: Its events frames.
            greetings: Place and event number of its greetings.
        """
        place = np.concatenate((heads.at, np.array([at for at, _ in greetings], dtype=np.int64)))
        event = np.concatenate((heads.event, np.array([number for _, number in greetings], dtype=np.int64)))
        count = np.concatenate((heads.events, np.zeros(len(greetings), dtype=np.int64)))
        if len(place) == 0:
            return Unwrapped(place, place, place, place, place, self.run)
        order = np.argsort(place, kind="stable")
        place, event, count = place[order], event[order], count[order]
        begun = event[0] if self._expected is None else self._expected
        gap = wrapped(event - np.concatenate((np.array([begun]), (event + count)[:-1])))
        self._expected = int(event[-1] + count[-1]) & 0xFFFFFFFF
        self.lost += int(gap[gap > 0].sum())
        self.restarts += int((gap < 0).sum())
        before = self.run
        all_runs = before + np.cumsum(gap < 0)
        self.run = int(all_runs[-1])
        run = all_runs[order < len(heads.at)]
        fresh = np.diff(run, prepend=before) != 0
        # Births only rise within a run. A step back is a damaged head that passed its checksum; it must not run wild.
        rise = np.maximum(wrapped(np.diff(heads.birth, prepend=self._birth)), 0)
        birth = self._full_birth + np.cumsum(np.where(fresh, 0, rise))
        # Time may stand still for long, so a step is taken for what it says, however large.
        passed = np.diff(heads.time, prepend=self._time) & 0xFFFFFFFF
        time = self._full_time + np.cumsum(np.where(fresh, 0, passed))
        if len(run):
            self._birth, self._full_birth = int(heads.birth[-1]), int(birth[-1])
            self._time, self._full_time = int(heads.time[-1]), int(time[-1])
        return Unwrapped(run, birth + run * _RUN_STEP, time, place, all_runs, before)

    def restart(self) -> None:
        """Count a restart that no number told, from here on."""
        self.run += 1
        self.restarts += 1
