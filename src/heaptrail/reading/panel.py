"""Asks several dialects at once, and lets one line be read by one of them.

Where the dialect is not known, all are asked. Some print alike: FreeRTOS's task table stands in several consoles, and
every allocator says that it failed. The first dialect that finds something on a line owns it; what another says of the
same line is the same thing read twice and is left out. A dialect that found a reading or a block of its own is asked
first from then on; one that reads what any system may print stays the last. A dialect that holds the console, as
between begin and end lines of its own, is asked alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.model.observations import Mark, Problem, Task

if TYPE_CHECKING:
    from heaptrail.dialects import Dialect, Line, Run
    from heaptrail.model.observations import AnyObservation

    Found = list[tuple[Dialect, list[AnyObservation]]]

_CLAIMS_KEPT = 1024
"""A dialect may give a line's observation out some lines later, when it is complete."""
_NOT_ITS_OWN = (Task, Problem, Mark)
"""What other dialects read as well, so that it does not show whose console it is."""
_DOUBTS = frozenset({"torn_record", "missing_records", "corrupt"})
"""Problems that say no more than `I could not read this line`; no news when another could."""


class Panel:
    """The dialects of one log.

    Attributes:
        due: Number of the line that one of them wants whatever it holds, if it hears of none before; None for none.
        told: Whether the last line meant something to any of them.
    """

    def __init__(self, dialects: list[Dialect], first_bit: int = 1) -> None:
        self.dialects = dialects
        self.told = False
        self._bits = {dialect.name: first_bit << at for at, dialect in enumerate(dialects)}
        self._holds = {dialect.name for dialect in dialects if hasattr(dialect, "holds")}
        self._passing = {dialect.name for dialect in dialects if hasattr(dialect, "passes")}
        self._by_name = {dialect.name: dialect for dialect in dialects}
        self._dues = {dialect.name for dialect in dialects if hasattr(dialect, "due")}
        self._last = {dialect.name for dialect in dialects if getattr(dialect, "last", False)}
        self._order = sorted(dialects, key=lambda dialect: dialect.name in self._last)
        self._by_bits: dict[int, list[Dialect]] = {}
        self._claims: dict[tuple[int, str], str] = {}
        self._begin()

    def _begin(self) -> None:
        self._holder: Dialect | None = None
        self._wanting = {dialect.name: dialect.wants for dialect in self._order if dialect.wants}
        self._wanting_bits = sum(self._bits[name] for name in self._wanting)
        self._due: dict[str, int] = {}
        self.due: int | None = None

    @property
    def wants(self) -> bool:
        """Whether any of them wants the next line whatever it holds."""
        return self._wanting_bits != 0

    def needles(self) -> dict[bytes, int]:
        """Every dialect's triggers, and the bits of those that ask for each."""
        needles: dict[bytes, int] = {}
        for dialect in self.dialects:
            for trigger in dialect.triggers:
                needles[trigger] = needles.get(trigger, 0) | self._bits[dialect.name]
        return needles

    def runner(self, held: int) -> Dialect | None:
        """The dialect that is inside a listing and alone is asked for lines with these bits, if it can read many."""
        wanting = self._wanting_bits
        if not wanting or self._holder is not None or self.due is not None:
            return None
        asked = self._asked(held | wanting, 0)
        return asked[0] if len(asked) == 1 and getattr(asked[0], "runs", False) else None

    def run(self, dialect: Dialect, data: bytes, span: tuple[int, int], line: Line) -> Run | None:
        """Let a dialect read many lines in one go; None where it reads none."""
        run: Run | None = dialect.run(data, *span, line)  # type: ignore[attr-defined]  # as `runner` found
        if run is None:
            return None
        self._note(dialect)
        if len(self._order) > 1:
            self._ask_first(dialect)
        return run

    def passes(self, raw: bytes) -> bool:
        """Whether a line that holds no trigger is nothing to the only dialect that wants it, which takes note of it."""
        if len(self._wanting) != 1 or self._holder is not None or self.due is not None:
            return False
        dialect = self._by_name[next(iter(self._wanting))]
        if dialect.name not in self._passing or not dialect.passes(raw):  # type: ignore[attr-defined]  # it has that
            return False
        self._note(dialect)
        return True

    def hear(self, line: Line, held: int) -> Found:
        """What each has to say after this line.

        Args:
            line: The line as it is read.
            held: The bits of the triggers that stand in the line as it was received.
        """
        asked = self._asked(held | self._wanting_bits, line.number)
        told = self.told = False
        heard: Found = []
        for dialect in asked:
            found = dialect.feed(line)
            told |= self._note(dialect)
            if found:
                told = True
                heard.append((dialect, list(found)))
        self.told = told
        return self._owned(heard) if heard else heard

    def _asked(self, bits: int, number: int) -> list[Dialect]:
        if self._holder is not None:
            return [self._holder]
        if self.due is not None and self.due <= number:
            for name, due in self._due.items():
                if due <= number:
                    bits |= self._bits[name]
        asked = self._by_bits.get(bits)
        if asked is None:  # what is no dialect's makes few combinations
            asked = self._by_bits[bits] = [each for each in self._order if bits & self._bits[each.name]]
        return asked

    def _note(self, dialect: Dialect) -> bool:
        """Keep what only this dialect's feeding can have changed; whether the line meant something to it."""
        name = dialect.name
        wanted, left = self._wanting.get(name, 0), dialect.wants
        if left != wanted:
            if left:
                self._wanting[name] = left
                self._wanting_bits |= self._bits[name]
            else:
                del self._wanting[name]
                self._wanting_bits &= ~self._bits[name]
        if name in self._holds:
            self._holder = dialect if dialect.holds else None  # type: ignore[attr-defined]  # it has that, as was seen
        told = left >= max(1, wanted)  # what it does not know uses up its patience
        if name not in self._dues:
            return told
        due: int | None = dialect.due  # type: ignore[attr-defined]  # it has that, as was seen
        before = self._due.get(name)
        if due != before:
            if due is None:
                del self._due[name]
            else:
                self._due[name] = due
                told = True
            self.due = min(self._due.values(), default=None)
        return told

    def finish(self) -> Found:
        """What is still open, at the end of the log or at a reset."""
        heard = [(dialect, list(dialect.finish())) for dialect in self._order]
        self._begin()
        return self._owned(heard)

    def _owned(self, heard: Found) -> Found:
        if len(self._order) == 1:
            return heard
        owned: Found = []
        for dialect, found in heard:
            mine = [observation for observation in found if self._claim(dialect, observation)]
            if not mine:
                continue
            owned.append((dialect, mine))
            if self._order[0] is not dialect and any(not isinstance(each, _NOT_ITS_OWN) for each in mine):
                self._ask_first(dialect)
        while len(self._claims) > _CLAIMS_KEPT:
            del self._claims[next(iter(self._claims))]
        return owned

    def _ask_first(self, dialect: Dialect) -> None:
        if self._order[0] is not dialect and dialect.name not in self._last:
            self._order.remove(dialect)
            self._order.insert(0, dialect)
            self._by_bits.clear()

    def _claim(self, dialect: Dialect, observation: AnyObservation) -> bool:
        """Whether the observation is this dialect's to make."""
        line = observation.line
        if isinstance(observation, Problem) and observation.what in _DOUBTS:
            return self._claims.get((line, "read"), dialect.name) == dialect.name
        what = observation.what if isinstance(observation, Problem | Mark) else "read"
        return self._claims.setdefault((line, what), dialect.name) == dialect.name
