"""What any firmware prints of its own, whatever its system: free heap in plain words, and that an allocation failed.

There is no source for these: wordings that many programs use are read, and no others (`heaptrail.dialects.oneliners`).
A log taken from an issue thread holds sentences, too, so a failure is believed only where it is told as one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects.oneliners import TRIGGERS, OneLiners
from heaptrail.dialects.text import place, problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.dialects import ConsoleCommands, Line
    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

_FAILED = re.compile(
    r"alloc(?:ation|ate)?\w*(?:\(\w*\))? (?:failed\b|failure\b|fail(?=\s*(?:[!.,:;(\[-]|$)))"
    r"(?!\s*(?:cnt|count|\w*s?\s*[:=]\s*\d))"
    r"|(?:^|[\]>)!,:-]\s*)(?:[Nn]o memory\b(?! leak)|[Oo]ut of memory\b)|\b(?:[Nn]o|[Oo]ut of) memory\s*(?:!|$)"
)
_TOLD_OF = re.compile(
    r"(?i)\b(?:if|when|whether|until|unless|because|why|how|can|could|may|might|will|would|does|should|not?|never|runs?|"
    r"running|every time|on|return\w*|handle\w*|check\w*|count\w*|number of|total)\b[^.;:!]*$"
)
"""What stands before a failure that is spoken of and did not happen here."""
_LINE_CHARACTERS = 400
"""A longer line is no message."""


class Firmware:
    """Any firmware: `Free heap: 281720` and other plain words for it, failed allocations."""

    name: ClassVar[str] = "firmware"
    sample_line: ClassVar[str] = "Free heap: 281720, minimum free heap: 229500"
    firmware_options: ClassVar[str] = "none; for other wordings give --pattern (see the dialect regex)"
    tells: ClassVar[str] = "Free, smallest-ever and largest free bytes, where a label and a whole number say so."
    cannot_tell: ClassVar[str] = "Blocks, tasks, sites; figures in KB or percent are not bytes and are left alone."
    commands: ClassVar[ConsoleCommands | None] = None
    last: ClassVar[bool] = True
    triggers: ClassVar[tuple[bytes, ...]] = (
        *TRIGGERS,
        b"alloc fail",
        b"ation fail",
        b"allocate fail",
        b"alloc() fail",
        b"o memory",
        b"ut of memory",
    )

    def __init__(self, limits: Limits) -> None:
        del limits  # nothing is kept from line to line but a sample that waits
        self._oneliners = OneLiners(self.name)

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return self._oneliners.wants

    def feed(self, line: Line) -> Iterable[AnyObservation]:
        """What this line completes."""
        found = self._oneliners.tick(line)
        if len(line.text) > _LINE_CHARACTERS:
            return found
        found += self._oneliners.read(line) or []
        match = _FAILED.search(line.text)
        if match is not None and "?" not in line.text and _TOLD_OF.search(line.text, 0, match.start()) is None:
            text = f"an allocation failed: {' '.join(line.text.split())[:160]}"
            found.append(problem(place(line, self.name), "alloc_failed", text))
        return found

    def finish(self) -> Iterable[AnyObservation]:
        """What is still open at the end of the log."""
        return self._oneliners.close()

    def footprint(self) -> FootprintRule | None:
        """None: no block is read."""
        return None
