"""What the consoles of all RTOSes have in common: where a line stands, how addresses and prompts are written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict

from heaptrail.model.observations import Problem

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.model.observations import RawFrame

HEX = r"0[xX](?:0[xX])?([0-9a-fA-F]{1,16})(?![0-9a-zA-Z_])"
"""An address: `0x0875f990`, `0X0875F990`, and `0x0x875f990` where a C library's %p brings a second prefix. A letter or
digit right behind it means that the number was cut by another line, and it is none."""

PROMPT = re.compile(r"^\s*[\w.:/~@-]{0,32}[>$#]\s*$")
"""A prompt with nothing typed behind it: what was printed before is over."""

NAME_CHARACTERS = 31
"""The longest task name of any of these systems (configMAX_TASK_NAME_LEN 32 on the DSP); more is two lines in one."""


class Place(TypedDict):
    """Where an observation was read; every record takes these five."""

    line: int
    boot: int
    cycle: int | None
    t_s: float | None
    dialect: str


def place(line: Line, dialect: str) -> Place:
    """The place of whatever is read from this line."""
    return {"line": line.number, "boot": line.boot, "cycle": line.cycle, "t_s": line.t_s, "dialect": dialect}


def problem(where: Place, what: str, text: str, frames: tuple[RawFrame, ...] = ()) -> Problem:
    """A problem at that place."""
    return Problem(what=what, text=text, frames=frames, **where)


def number_ranges(ranges: list[tuple[int, int]], *, shown: int = 8) -> str:
    """`001-006, 009`, as the listings print their numbers; what is beyond `shown` ranges is counted."""
    parts = [f"{low:03d}" if low == high else f"{low:03d}-{high:03d}" for low, high in ranges[:shown]]
    if len(ranges) > shown:
        parts.append(f"and {len(ranges) - shown} more gaps")
    return ", ".join(parts)
