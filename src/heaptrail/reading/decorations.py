"""What an issue thread or a web page puts around a line of a log: quotation marks, code marks, line numbers.

None of it says anything, but a row that must end where its line ends is no row with a mark behind it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUOTE = re.compile(r"^(?:> )+(?![a-z][\w-]*(?: [\w./-]{1,16}){0,3}\s*$)(?=.*\S)")
"""A quotation in an issue thread. What looks like a command of a few words is one behind the prompt `> `."""
_CODE = re.compile(r"^\s*(`{1,2})(?!`)(?P<inner>.*?)(?:(?<!`)\1\s*)?$")
_BOLD = re.compile(r"^\s*\*\*(?![*\s])(?P<inner>.*\S)(?<!\*)\*\*\s*$")
_CODE_ENDS = re.compile(r"^[^`]*[^`](`{1,2})\s*$")
_MARKS = frozenset("`*")
_FEWEST_NUMBERED = 5


def undecorated(text: str) -> str:
    """The line without Markdown's marks for quotations, code and bold print."""
    if text[:1] == ">":
        text = _QUOTE.sub("", text, count=1)
    if not (_MARKS.intersection(text[-2:]) or _MARKS.intersection(text.lstrip()[:1])):
        return text
    match = _CODE.match(text) or _BOLD.match(text)
    if match is not None:
        return match["inner"]
    match = _CODE_ENDS.match(text)
    return text if match is None else text[: match.start(1)]


def numbering_of(lines: Sequence[str]) -> int | None:
    """By how much a page's line numbers, copied along, run ahead of the log's; None where lines are not numbered.

    Args:
        lines: The first lines of the log. All of them must begin with a number that is one higher than the last, which
            no table does, since its heading has none.
    """
    if len(lines) < _FEWEST_NUMBERED:
        return None
    match = re.match(r"\s*(\d{1,7})", lines[0])
    if match is None:
        return None
    # A number may be glued to a digit of the line behind it, so the first one's end is found by trying.
    for digits in range(1, len(match[1]) + 1):
        ahead = int(match[1][:digits]) - 1
        if all(line.lstrip().startswith(str(at + ahead)) for at, line in enumerate(lines, 1)):
            return ahead
    return None


def without_number(text: str, number: int) -> str:
    """The line without its page's number, where it is there."""
    stripped, printed = text.lstrip(), str(number)
    return stripped.removeprefix(printed).removeprefix("\t") if stripped.startswith(printed) else text
