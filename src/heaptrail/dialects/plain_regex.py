"""One pattern of the user's, with named groups: for home-made lines such as `free: 12345`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects.literal import literal_of
from heaptrail.dialects.plain import LONGEST_TEXT, NO_FORM, Complaints, Fields, PlainForm
from heaptrail.errors import UsageError

if TYPE_CHECKING:
    from heaptrail.dialects import ConsoleCommands, Line
    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation


class PlainRegex:
    """Home-made lines that fit one pattern with named groups (`--pattern`, or `[target.regex] pattern`)."""

    name: ClassVar[str] = "regex"
    sample_line: ClassVar[str] = "free: 12345 (lowest 12001)"
    firmware_options: ClassVar[str] = (
        r"none; --pattern 'free: (?P<free>\d+) \(lowest (?P<min_free>\d+)' reads the line above"
    )
    tells: ClassVar[str] = (
        "What the groups are named: free, used, total, min_free, largest_free, allocations, t_s, heap …"
    )
    cannot_tell: ClassVar[str] = "Anything else; a line that does not fit is left alone."
    commands: ClassVar[ConsoleCommands | None] = None
    triggers: tuple[bytes, ...] = ()

    def __init__(self, limits: Limits, form: PlainForm = NO_FORM) -> None:
        del limits  # nothing is kept from line to line but a count
        self._complaints = Complaints(self.name)
        if form.pattern is None:
            raise UsageError(
                "the dialect regex needs a pattern",
                try_this="for a line such as `free: 12345`: --pattern 'free: (?P<free>\\d+)'",
            )
        try:
            self._pattern = re.compile(form.pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise UsageError(
                f"the pattern {form.pattern!r} is no regular expression: {error}",
                try_this="put a backslash before each of . * + ? ( ) [ ] { } | that stands for itself",
            ) from error
        self._fields = Fields(self._pattern.groupindex, what="group")
        literal = literal_of(form.pattern)
        if literal is not None:
            self.triggers = (literal.encode(),)

    @property
    def wants(self) -> int:
        """Every line, where no substring tells which of them may fit."""
        return 0 if self.triggers else 1

    def feed(self, line: Line) -> list[AnyObservation]:
        """See `Dialect`."""
        match = self._pattern.search(line.text[:LONGEST_TEXT])
        if match is None:
            return []
        sample = self._fields.sample(match.groupdict(), line, self.name)
        return self._complaints.say(line, f"the pattern fits, but {sample}") if isinstance(sample, str) else [sample]

    def finish(self) -> list[AnyObservation]:
        """See `Dialect`."""
        return self._complaints.close()

    def footprint(self) -> FootprintRule | None:
        """None: no block is read."""
        return None
