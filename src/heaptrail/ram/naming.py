"""Memory that the user names: variables by pattern, ranges by address."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from heaptrail.errors import UsageError
from heaptrail.units import whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.intervals import Interval


def named_memory(firmware: Firmware, names: Iterable[str], option: str | None) -> list[tuple[str, Interval]]:
    """The memory of these names, each with the variable's name or the range as it was given.

    Args:
        firmware: The ELF.
        names: Variables, with `*` for any letters, and `0xSTART+0xSIZE`.
        option: Where the user gave them, for the error; None where a name may be missing.

    Raises:
        UsageError: A range cannot be read, or no variable has this name.
    """
    found: list[tuple[str, Interval]] = []
    patterns: list[str] = []
    for given in names:
        start, plus, size = given.partition("+")
        if start[:2].lower() == "0x" and plus:
            try:
                found.append((given, (int(start, 16), int(start, 16) + whole(size))))
            except ValueError:
                raise UsageError(f"{option} {given}: no range", try_this="0xSTART+0xSIZE") from None
        else:
            patterns.append(given)
    if not patterns:
        return found
    matched: set[str] = set()
    for variable in firmware.variables():
        for pattern in patterns:
            if fnmatchcase(variable.name, pattern):
                matched.add(pattern)
                found.append((variable.name, (variable.address, variable.address + variable.size)))
                break
    unmatched = [given for given in patterns if given not in matched]
    if unmatched and option is not None:
        raise UsageError(
            f"{option} {unmatched[0]}: {firmware.name} has no variable of this name",
            try_this="a variable's name, with * for any letters, or 0xSTART+0xSIZE",
        )
    return found
