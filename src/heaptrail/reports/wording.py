"""How a report's figures are said: one place, so that the terminal and the page say the same.

A figure that is unknown, or no finite number, is `unknown`; an interval with an open end says which one is open.
"""

from __future__ import annotations

import math
import re
import shlex
from typing import TYPE_CHECKING, Final

from heaptrail.reports.untrusted import NAME_CHARACTERS, printable
from heaptrail.units import format_address, format_bytes, format_hours, format_rate, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from heaptrail.model.evidence import CaptureInfo
    from heaptrail.model.report import Finding, Frame, Report, ReportProblem, Site, SuppressionUse
    from heaptrail.model.verdict import Books, Interval, SiteClass, UpperBound, VerdictWord

UNKNOWN: Final = "unknown"

VERDICTS: Final[dict[VerdictWord, str]] = {"leak": "Leak", "no_leak": "No leak", "inconclusive": "Inconclusive"}

CLASSES: Final[dict[SiteClass, tuple[str, str]]] = {
    "leak": ("leak", "blocks keep coming and stay"),
    "held_until_teardown": (
        "held until teardown",
        "blocks pile up with every cycle and go only when the workload ends",
    ),
    "undecided": ("undecided", "too little was seen to say whether it grows"),
    "bounded": ("bounded", "grew at first and then stayed"),
    "one_time": ("one-time", "allocated once"),
    "in_flight": ("in flight", "in use at the dump and freed later"),
}
"""The classes in the order of their weight, each with its name and what it means."""

GROWING: Final[tuple[SiteClass, ...]] = ("leak", "held_until_teardown")


_OPTION: Final = re.compile(r"--[a-z][a-z-]{0,40}")
_FLAGS: Final = ("--allow-mismatch",)
_REPEATED: Final = ("--wrapper", "--source-map", "--exclude", "--keep", "--root")


def bytes_text(value: float | None) -> str:
    """`3,840 B`, or `unknown`."""
    return format_bytes(value) if value is not None and math.isfinite(value) else UNKNOWN


def share_text(share: float) -> str:
    """A share of one as percent, `99.6%`; only all of it is `100%`, and only nothing is `0%`."""
    if not math.isfinite(share * 100):
        return UNKNOWN
    percent = round(share * 100, 1)
    if 0 < share < 1:
        percent = min(max(percent, 0.1), 99.9)
    return f"{percent:,.0f}%" if percent == round(percent) else f"{percent:,.1f}%"


def count_text(value: float | None, noun: str) -> str:
    """`1 block`, `2.5 blocks`, `unknown`."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == round(value):
        return plural(round(value), noun)
    return f"{value:,.2f} {noun}s"


def interval_text(interval: Interval | None, write: Callable[[float], str]) -> tuple[str, str]:
    """The estimate and its range, `("7,696 B", "7,690 B to 7,702 B")`; the range is empty where both ends are open."""
    if interval is None:
        return UNKNOWN, ""
    low = write(interval.low) if interval.low is not None and math.isfinite(interval.low) else None
    high = write(interval.high) if interval.high is not None and math.isfinite(interval.high) else None
    middle = interval.estimate
    if middle is not None and math.isfinite(middle):
        estimate = write(middle)
    else:
        estimate = f"at least {low}" if low else f"at most {high}" if high else UNKNOWN
    if low and high:
        return estimate, "" if low == high == estimate else f"{low} to {high}"
    if low:
        return estimate, f"{low} or more"
    return estimate, f"{high} or less" if high else ""


def further_reasons(report: Report) -> tuple[str, ...]:
    """The reasons that the headline does not say already (that of `inconclusive` is its first reason)."""
    said = report.headline.casefold()
    return tuple(reason for reason in report.reasons if reason.rstrip(".").casefold() not in said)


def loss_per_cycle(report: Report) -> tuple[str, str]:
    """What the heap loses in a cycle, and its interval."""
    return interval_text(report.rate_bytes_per_cycle, _bytes_of_rate)


def loss_per_hour(report: Report) -> tuple[str, str]:
    """What the heap loses in an hour, and its interval."""
    return interval_text(report.rate_bytes_per_hour, _bytes_of_rate)


def exhaustion(report: Report) -> tuple[str, str]:
    """When the heap is full: in hours where time is known, else in cycles; with the interval."""
    if report.exhaustion_hours is not None:
        return interval_text(report.exhaustion_hours, _hours)
    return exhaustion_cycles(report)


def exhaustion_cycles(report: Report) -> tuple[str, str]:
    """How many cycles the heap lasts, and the interval."""
    return interval_text(report.exhaustion_cycles, _cycles)


def upper_bound_text(bound: UpperBound) -> str:
    """The claim behind `no_leak`, with the assumption that it rests on."""
    return (
        f"below {_rate(bound.value)} B per {bound.unit} with {share_text(bound.confidence)} confidence, "
        f"for single losses of at most {bytes_text(bound.largest_single_loss_bytes)}"
    )


def books_rows(books: Books) -> tuple[tuple[str, str, str], ...]:
    """The three lines of the books: word, bytes, and share of what was lost."""
    share = books.share_explained
    rest = share_text(1 - share) if 0 <= share <= 1 else ""
    return (
        ("lost", bytes_text(books.lost_bytes), ""),
        ("explained", bytes_text(books.explained_bytes), share_text(share)),
        ("unexplained", bytes_text(books.unexplained_bytes), rest),
    )


def growth_text(thing: Finding | Site) -> str:
    """What stays per cycle: `2 blocks, 7,680 B (7,712 B of heap)`."""
    if thing.per_cycle_blocks is None and thing.per_cycle_bytes is None:
        return UNKNOWN
    parts = [count_text(thing.per_cycle_blocks, "block")] if thing.per_cycle_blocks is not None else []
    if thing.per_cycle_bytes is not None:
        parts.append(_bytes_of_rate(thing.per_cycle_bytes))
    text = ", ".join(parts)
    if thing.per_cycle_footprint_bytes is not None:
        text += f" ({_bytes_of_rate(thing.per_cycle_footprint_bytes)} of heap)"
    return text


def live_text(thing: Finding | Site) -> str:
    """What is live in the last dump: `35 blocks, 134,400 B`."""
    return f"{plural(thing.live_blocks, 'block')}, {bytes_text(thing.live_bytes)}"


def sizes_text(site: Site, at_most: int = 6) -> str:
    """The block sizes and how the dump counts them: `requested size 3,840 B (0xf00)`."""
    shown = [f"{size:,} B (0x{size:x})" for size in site.sizes_bytes[:at_most]]
    more = len(site.sizes_bytes) - len(shown)
    kind = "requested size" if site.size_kind == "requested" else "size with the allocator's header"
    return f"{kind} {', '.join(shown) or UNKNOWN}{f' and {more:,} more' if more else ''}"


def meaning(finding: Finding) -> str:
    """What the finding's class means for it: where no growth was seen, a leak is one for what it lost."""
    lost = any(site.unreachable_blocks for site in finding.sites)
    if finding.finding_class == "leak" and finding.per_cycle_blocks is None and lost:
        return "nothing points to these blocks any more"
    return CLASSES[finding.finding_class][1]


def site_label(site: Site) -> str:
    """The site's name, or its innermost address where none can be named."""
    if site.name:
        return printable(site.name, NAME_CHARACTERS)
    if site.frames:
        innermost = list(dict.fromkeys(frame.pc for frame in site.frames))[:3]
        return "unnamed site " + " < ".join(format_address(pc) for pc in innermost)
    return "site without a backtrace"


def place_text(file: str | None, line: int | None, *, parts: int | None = None) -> str:
    """`softvolume.c:250`; `parts` keeps that many last parts of the path. Empty where the file is unknown."""
    if not file:
        return ""
    path = printable(file, 400).replace("\\", "/")
    if parts is not None:
        path = "/".join(path.split("/")[-parts:])
    return path if line is None else f"{path}:{line}"


def frame_label(frame: Frame) -> str:
    """The frame's function, or what is known instead."""
    if frame.function:
        return printable(frame.function, NAME_CHARACTERS)
    return f"in {printable(frame.module, NAME_CHARACTERS)}" if frame.module else "no symbol"


def naming_index(site: Site) -> int | None:
    """Index of the frame that gives the site its name, None where none does."""
    if site.name is None:
        return None
    outside = [index for index, frame in enumerate(site.frames) if not frame.wrapper]
    named = [index for index in outside if site.frames[index].function == site.name]
    return next(iter(named or outside), None)


def tasks_text(tasks: Sequence[str], at_most: int = 6) -> str:
    """Task names, the first few, or `unknown`."""
    shown = [printable(task, 40) for task in tasks[:at_most]]
    more = len(tasks) - len(shown)
    return f"{', '.join(shown)}{f' and {more:,} more' if more else ''}" if shown else UNKNOWN


def problem_place(problem: ReportProblem, boots: int) -> str:
    """Where a problem was seen first and how often: `line 812, boot 2, 4 times`; empty where none of it is known."""
    parts = [f"line {problem.line:,}"] if problem.line is not None else []
    if problem.boot is not None and boots > 1:
        parts.append(f"boot {problem.boot:,}")
    if problem.count > 1:
        parts.append(f"{problem.count:,} times")
    return ", ".join(parts)


def amount_read(capture: CaptureInfo) -> str:
    """How much a capture is: lines and bytes of a log, bytes of a memory image."""
    size = bytes_text(capture.bytes_read)
    return size if capture.format == "image" else f"{plural(capture.lines, 'line')}, {size}"


def known_text(use: SuppressionUse) -> str:
    """An entry of a list of known leaks, and what it matched: `used: leak:softvol_* (known.supp:3), 2 sites, ...`."""
    said = [part for part in (use.reason, use.owner, use.expires and f"until {use.expires}") if part]
    more = f" ({', '.join(printable(part, NAME_CHARACTERS) for part in said)})" if said else ""
    pattern, place = printable(use.pattern, NAME_CHARACTERS), printable(use.place, NAME_CHARACTERS)
    return f"{use.status}: {pattern} ({place}), {plural(use.sites, 'site')}, {bytes_text(use.live_bytes)} live{more}"


def reproduce_command(report: Report) -> str:
    """The command that makes this report again from its captures, for a shell; options are as the report names them."""
    captures = report.provenance.captures
    images = bool(captures) and all(capture.format == "image" for capture in captures)
    # Images of a live target are named by their server and a number; they can only be taken anew.
    names = dict.fromkeys(capture.name.partition(", image ")[0] if images else capture.name for capture in captures)
    words = ["heaptrail", "ram" if images else "read"]
    words += [_quoted(name) for name in list(names)[:20]] or ["LOG"]
    if report.provenance.elf is not None:
        words += ["--elf", _quoted(report.provenance.elf.name)]
    for option, value in report.provenance.options.items():
        if not _OPTION.fullmatch(option) or option in ("--elf", "--output", "--format"):
            continue
        if option in _FLAGS:
            words.append(option)
            continue
        values = value.split(", ") if option in _REPEATED else [value]
        words += [word for one in values for word in (option, _quoted(one))]
    return " ".join([*words, "--output", "report.html"])


def _quoted(text: str) -> str:
    return shlex.quote(printable(text, NAME_CHARACTERS))


def _bytes_of_rate(value: float) -> str:
    return f"{format_rate(value)} B"


def _rate(value: float) -> str:
    return format_rate(value) if math.isfinite(value) else UNKNOWN


def _hours(value: float) -> str:
    return format_hours(value)


def _cycles(value: float) -> str:
    return count_text(round(value), "cycle")
