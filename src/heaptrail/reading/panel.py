"""Asks several dialects at once, and lets one line be read by one of them.

Where the dialect is not known, all are asked. Some print alike: FreeRTOS's task table stands in several consoles, and
every allocator says that it failed. The first dialect that finds something on a line owns it; what another says of
the same line is the same thing read twice and is left out. A dialect that found a reading or a block of its own is
asked first from then on. A dialect that holds the console, as between begin and end lines of its own, is asked alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.model.observations import Mark, Problem, Task

if TYPE_CHECKING:
    from heaptrail.dialects import Dialect, Line
    from heaptrail.model.observations import AnyObservation

    Found = list[tuple[Dialect, list[AnyObservation]]]

_CLAIMS_KEPT = 1024
"""A dialect may give a line's observation out some lines later, when it is complete."""
_DOUBTS = frozenset({"torn_record", "missing_records", "corrupt"})
"""Problems that say no more than `I could not read this line`; no news when another could."""


class Panel:
    """The dialects of one log.

    Attributes:
        told: Whether the last line meant something to any of them.
    """

    def __init__(self, dialects: list[Dialect]) -> None:
        self.dialects = dialects
        self.told = False
        self._order = list(dialects)
        self._wanting = _wanting(dialects)
        self._claims: dict[tuple[int, str], str] = {}
        self._holder: Dialect | None = None

    @property
    def wants(self) -> bool:
        """Whether any of them wants the next line whatever it holds."""
        return bool(self._wanting)

    def hear(self, raw: bytes, line: Line, *, promising: bool) -> Found:
        """What each has to say after this line.

        Args:
            raw: The line as it was received.
            line: The line as it is read.
            promising: The line may hold a trigger; where it cannot, only those are asked that want it anyway.
        """
        self.told = False
        wanting = self._wanting
        if self._holder is not None:
            asked = [self._holder]
        elif promising:
            asked = [each for each in self._order if each.name in wanting or _holds(raw, each.triggers)]
        else:
            asked = [each for each in self._order if each.name in wanting]
        heard: Found = []
        for dialect in asked:
            wanted = wanting.pop(dialect.name, 0)
            found = list(dialect.feed(line))
            left = dialect.wants
            if left:
                wanting[dialect.name] = left
            if getattr(dialect, "holds", False):
                self._holder = dialect
            elif dialect is self._holder:
                self._holder = None
            self.told |= bool(found) or left >= max(1, wanted)  # what it does not know uses up its patience
            if found:
                heard.append((dialect, found))
        return self._owned(heard) if heard else heard

    def finish(self) -> Found:
        """What is still open, at the end of the log or at a reset."""
        heard = [(dialect, list(dialect.finish())) for dialect in self._order]
        self._holder = None
        self._wanting = _wanting(self._order)
        return self._owned(heard)

    def _owned(self, heard: Found) -> Found:
        if len(self._order) == 1:
            return heard
        owned: Found = []
        for dialect, found in heard:
            mine = [observation for observation in found if self._claim(dialect, observation)]
            owned.append((dialect, mine))
            if any(not isinstance(observation, Task | Problem | Mark) for observation in mine):
                self._order = [dialect, *(other for other in self._order if other is not dialect)]
        while len(self._claims) > _CLAIMS_KEPT:
            del self._claims[next(iter(self._claims))]
        return owned

    def _claim(self, dialect: Dialect, observation: AnyObservation) -> bool:
        """Whether the observation is this dialect's to make."""
        line = observation.line
        if isinstance(observation, Problem) and observation.what in _DOUBTS:
            return self._claims.get((line, "read"), dialect.name) == dialect.name
        what = observation.what if isinstance(observation, Problem | Mark) else "read"
        return self._claims.setdefault((line, what), dialect.name) == dialect.name


def _wanting(dialects: list[Dialect]) -> dict[str, int]:
    """How many lines each wants, by name; kept here because it changes only when a dialect is fed."""
    return {dialect.name: dialect.wants for dialect in dialects if dialect.wants}


def _holds(raw: bytes, triggers: tuple[bytes, ...]) -> bool:
    for trigger in triggers:  # noqa: SIM110 - a generator costs three times as much, and this is the inner loop
        if trigger in raw:
            return True
    return False
