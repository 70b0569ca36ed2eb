"""How quantities are written for people. One place, so that every report says a number the same way."""

from __future__ import annotations

_HOURS_PER_DAY = 24.0


def format_bytes(count: float) -> str:
    """Bytes with thousands separators: `1,907,128 B`; never rounded to KB, since books must balance."""
    rounded = round(count)
    return f"{rounded:,} B"


def whole(text: str) -> int:
    """A number as C prints it, `0x1f` or `31`; zeros in front are no octal."""
    return int(text, 16 if text[:2] in ("0x", "0X") else 10)


def format_rate(count: float) -> str:
    """A number of bytes per something, as exact as it matters: `7,696`, `0.4`, `0.03`; a loss never shows as 0."""
    if 0 < abs(count) < 0.1:
        return f"{count:.1g}"
    return f"{count:,.0f}" if abs(count) >= 10 else f"{count:,.1f}"  # below 10 B a whole byte is a coarse step


def format_hours(hours: float) -> str:
    """A duration the way a person says it: `12 min`, `3.5 h`, `9 days`."""
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    if hours < 1:
        return f"{hours * 60:.0f} min"
    if hours < 3 * _HOURS_PER_DAY:
        return f"{hours:.1f} h"
    return f"{hours / _HOURS_PER_DAY:,.0f} days"


def format_address(address: int) -> str:
    """An address as the case prints it, 8 digits at least: `0x08760960`."""
    return f"0x{address:08x}"


def plural(count: int, noun: str) -> str:
    """`1 block`, `2 blocks`, `1,024 blocks`; the noun is regular."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_share(share: float) -> str:
    """A share as a whole percentage; the confidence of a claim keeps the digits that it has: `99 %`, `99.9 %`."""
    return f"{share * 100:.3g} %"
