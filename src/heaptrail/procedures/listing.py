"""How long a listing of live blocks will take, from the counters of the agent's sites (SPEC.md, "Agent text").

A listing that takes a quarter of an hour looks like a device that hangs; so it is said before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from heaptrail.dialects import Line
from heaptrail.dialects.heaptrail_agent import HeaptrailAgent
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.observations import SiteCount
from heaptrail.transports import scheme_of
from heaptrail.units import format_bytes, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.procedures.workload import Target

AGENT_SAYS = "heaptrail: begin "
"""How every dump of the agent begins."""
_BITS_PER_BYTE = 10  # start, 8 bits, stop
_RECORD_BYTES, _FRAME_BYTES = 70, 32  # `    001: ptr = 0x…, size = 0x…, thread = NAME`; `        backtrace : 0x…`
_COMPACT_BLOCK_BYTES, _COMPACT_STACK_BYTES, _COMPACT_FRAME_BYTES = 44, 12, 9  # `    @b …`; `    @s12`, ` 08336AEE`


class Listing(NamedTuple):
    """Live blocks, and the bytes that the two layouts take to print them, estimated."""

    blocks: int
    case_bytes: int
    compact_bytes: int


def listing_of(answer: Sequence[str]) -> Listing | None:
    """What a listing would be now, from the answer to `memleak sites`; None where it is none, or was cut."""
    agent = HeaptrailAgent(DEFAULT_LIMITS)
    said = [each for number, text in enumerate(answer, 1) for each in agent.feed(Line(text, number))]
    sites = [each for each in said if isinstance(each, SiteCount)]
    if not any(text.strip().startswith(AGENT_SAYS + "sites") for text in answer) or agent.holds:
        return None
    blocks = sum(site.live_blocks for site in sites)
    live = [site for site in sites if site.live_blocks]
    return Listing(
        blocks=blocks,
        case_bytes=sum(site.live_blocks * (_RECORD_BYTES + _FRAME_BYTES * len(site.frames)) for site in live),
        compact_bytes=_COMPACT_BLOCK_BYTES * blocks
        + sum(_COMPACT_STACK_BYTES + _COMPACT_FRAME_BYTES * len(site.frames) for site in live),
    )


def bytes_per_second(target: Target) -> float | None:
    """What the console's line carries; None where its speed is not the serial port's (a program, a socket)."""
    if scheme_of(target.console) != "serial" or target.console.startswith("socket://"):
        return None
    return target.baud / _BITS_PER_BYTE


def told(blocks: int, size_bytes: int, target: Target) -> tuple[str, float | None]:
    """A sentence's part about a listing, and the seconds that it takes where the line's speed is known."""
    text = f"listing {plural(blocks, 'live block')}"
    speed = bytes_per_second(target)
    if speed is None:
        return text, None
    seconds = size_bytes / speed
    return f"{text}, about {format_bytes(size_bytes)}: {seconds:,.0f} s at {target.baud:,} baud", seconds
