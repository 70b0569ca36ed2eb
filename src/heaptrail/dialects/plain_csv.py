"""A table whose columns the user names: what a script or a data logger writes beside the firmware."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects.plain import LONGEST_TEXT, NO_FORM, Complaints, Fields, PlainForm
from heaptrail.errors import UsageError

if TYPE_CHECKING:
    from heaptrail.dialects import ConsoleCommands, Line
    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

_SEPARATOR = re.compile(r"[,;\t]")
_NUMBER = re.compile(r"[+-]?\d[\d.]{0,30}(?:[eE][+-]?\d{1,3})?|0[xX][0-9a-fA-F]{1,16}")
_LEFT_OUT = "-"


class PlainCsv:
    """Lines of numbers between commas, semicolons or tabs (`--columns`, or `[target.csv] columns`)."""

    name: ClassVar[str] = "csv"
    sample_line: ClassVar[str] = "12.5,281720,229500"
    firmware_options: ClassVar[str] = "none; --columns t_s,free,min_free reads the line above"
    tells: ClassVar[str] = (
        "What the columns are named: free, used, total, min_free, largest_free, allocations, t_s, heap …"
    )
    cannot_tell: ClassVar[str] = "Anything else; a row that does not fit is a problem, a line of words is left alone."
    commands: ClassVar[ConsoleCommands | None] = None
    triggers: ClassVar[tuple[bytes, ...]] = ()

    def __init__(self, limits: Limits, form: PlainForm = NO_FORM) -> None:
        del limits  # nothing is kept from line to line but a count
        self._complaints = Complaints(self.name)
        self._rows = 0
        self._columns = tuple(name.strip() for name in form.columns)
        if not self._columns:
            raise UsageError(
                "the dialect csv needs the names of the columns",
                try_this="for a line such as 12.5,281720: --columns t_s,free",
            )
        self._fields = Fields([name for name in self._columns if name != _LEFT_OUT], what="column")

    @property
    def wants(self) -> int:
        """Every line: nothing but its form tells whether one is a row."""
        return 1

    def feed(self, line: Line) -> list[AnyObservation]:
        """See `Dialect`."""
        cells = _SEPARATOR.split(line.text[:LONGEST_TEXT])
        if len(cells) != len(self._columns):
            # Log lines have commas, too: a row is what begins with a number where rows were read before.
            if len(cells) == 1 or not self._rows or _NUMBER.fullmatch(cells[0].strip()) is None:
                return []
            return self._complaints.say(line, f"a row has {len(cells)} cells instead of {len(self._columns)}")
        texts: dict[str, str | None] = {
            name: cell.strip().strip('"') for name, cell in zip(self._columns, cells, strict=True)
        }
        sample = self._fields.sample(texts, line, self.name)
        if isinstance(sample, str):
            # A heading and a sentence with as many commas hold no number.
            return self._complaints.say(line, f"a row does not fit: {sample}") if self._fields.numbers(texts) else []
        self._rows += 1
        return [sample]

    def finish(self) -> list[AnyObservation]:
        """See `Dialect`."""
        return self._complaints.close()

    def footprint(self) -> FootprintRule | None:
        """None: no block is read."""
        return None
