"""A table whose columns the user names: what a script or a data logger writes beside the firmware."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects.plain import LONGEST_TEXT, NO_FORM, Fields, PlainForm
from heaptrail.errors import UsageError

if TYPE_CHECKING:
    from heaptrail.dialects import ConsoleCommands, Line
    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

_SEPARATOR = re.compile(r"[,;\t]")
_LEFT_OUT = "-"


class PlainCsv:
    """Lines of numbers between commas, semicolons or tabs (`--columns`, or `[target.csv] columns`)."""

    name: ClassVar[str] = "csv"
    sample_line: ClassVar[str] = "12.5,281720,229500"
    firmware_options: ClassVar[str] = "none; --columns t_s,free,min_free reads the line above"
    tells: ClassVar[str] = (
        "What the columns are named: free, used, total, min_free, largest_free, allocations, t_s, heap …"
    )
    cannot_tell: ClassVar[str] = "Anything else; a line with other columns, or with words in them, is left alone."
    commands: ClassVar[ConsoleCommands | None] = None
    triggers: ClassVar[tuple[bytes, ...]] = ()

    def __init__(self, limits: Limits, form: PlainForm = NO_FORM) -> None:
        del limits  # nothing is kept from line to line
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
            return []
        texts: dict[str, str | None] = {
            name: cell.strip().strip('"') for name, cell in zip(self._columns, cells, strict=True)
        }
        sample = self._fields.sample(texts, line, self.name)
        return [] if sample is None else [sample]

    def finish(self) -> list[AnyObservation]:
        """See `Dialect`."""
        return []

    def footprint(self) -> FootprintRule | None:
        """None: no block is read."""
        return None
