"""A comparison of two reports, as text, as Markdown for a pull request, and as JSON (`heaptrail.diff/1`)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import msgspec
from rich.console import Console
from rich.text import Text

from heaptrail.reports import wording
from heaptrail.reports.markdown import markdown_text
from heaptrail.reports.untrusted import escaped, json_for_logs, plain_lines, printable
from heaptrail.units import format_rate, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from heaptrail.model.comparison import Change, Comparison, Outcome, Side, SiteChange, SiteState
    from heaptrail.model.verdict import Interval

_CHANGES_SHOWN: Final = 50
CHANGE_WORDS: Final[dict[Change, str]] = {
    "new": "new",
    "grown": "grown",
    "same": "same",
    "shrunk": "shrunk",
    "gone": "gone",
    "not_shown": "not shown",
}
_MARKS: Final[dict[Outcome, str]] = {
    "worse": "\u274c",
    "same": "\u2705",
    "better": "\u2705",
    "inconclusive": "\u26a0\ufe0f",
}


def difference_json(comparison: Comparison) -> bytes:
    """JSON, indented, in a stable order; what is not printable stands as its code."""
    content = msgspec.json.encode(_clean(msgspec.to_builtins(comparison)))
    return json_for_logs(msgspec.json.format(content, indent=2)) + b"\n"


def _clean(value: object) -> object:
    r"""Lone surrogates, which JSON has not, and control characters as text: `\x80`."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else escaped(c) for c in value)
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def difference_text(comparison: Comparison, width: int = 80) -> bytes:
    """Text for a terminal or a log: what is worse, then the rates and books of both, then the sites."""
    file = io.StringIO()
    console = Console(file=file, width=max(width, 40), color_system=None, markup=False, highlight=False, emoji=False)
    said = comparison.sentences()
    for index, sentence in enumerate(said[:_CHANGES_SHOWN]):
        first, hang = ("  - ", "    ") if index else ("", "")
        for number, piece in enumerate(Text(printable(sentence)).wrap(console, max(width, 40) - len(first))):
            piece.rstrip()
            console.print(Text(hang if number else first) + piece, soft_wrap=True)
    console.print()
    for label, before, after in comparison_rows(comparison):
        console.print(Text(f"  {label:<16}  {before:>22}  {after:>22}".rstrip()), soft_wrap=True)
    if comparison.changes:
        console.print()
        console.print("Sites that leak, before and after, bytes per cycle")
    for change in comparison.changes[:_CHANGES_SHOWN]:
        known = "  (suppressed)" if change.suppressed_by else ""
        figures = f"{_state(change.before):>8}  {_state(change.after):>8}"
        console.print(Text(f"  {CHANGE_WORDS[change.change]:<9}  {figures}  {_place(change)}{known}"), soft_wrap=True)
    if len(comparison.changes) > _CHANGES_SHOWN:
        console.print(f"  and {plural(len(comparison.changes) - _CHANGES_SHOWN, 'more site')}; the JSON has all")
    console.print(f"  {plural(comparison.other_sites, 'other site')} that do not leak in either", soft_wrap=True)
    return plain_lines(file.getvalue()).encode()


def difference_markdown(comparison: Comparison) -> bytes:
    """A comment for a pull request, the outcome first."""
    return ("\n".join(_markdown(comparison)) + "\n").encode()


def _markdown(comparison: Comparison) -> Iterator[str]:
    said = comparison.sentences()
    yield f"### {_MARKS[comparison.outcome]} {markdown_text(said[0])}"
    yield ""
    yield from (f"- {markdown_text(sentence)}" for sentence in said[1:10])
    yield ""
    yield "| | before | after |"
    yield "|---|---|---|"
    for label, before, after in comparison_rows(comparison):
        yield f"| {label} | {markdown_text(before)} | {markdown_text(after)} |"
    if comparison.changes:
        yield ""
        yield "| site | change | B per cycle before | after |"
        yield "|---|---|---|---|"
    for change in comparison.changes[:_CHANGES_SHOWN]:
        known = ", suppressed" if change.suppressed_by else ""
        states = f"{_state(change.before)} | {_state(change.after)}"
        yield f"| {markdown_text(_place(change))} | {CHANGE_WORDS[change.change]}{known} | {states} |"


def comparison_rows(comparison: Comparison) -> Iterator[tuple[str, str, str]]:
    """What both runs say as a whole, side by side: label, before, after."""
    sides = (comparison.before, comparison.after)

    def row(label: str, write: Callable[[Side], str]) -> tuple[str, str, str]:
        return (label, write(sides[0]), write(sides[1]))

    yield row("verdict", lambda side: wording.VERDICTS[side.verdict].lower())
    yield row("capture", lambda side: _short(side.captures[0]) if side.captures else wording.UNKNOWN)
    yield row("build id", lambda side: printable(side.build_id, 80)[:16] if side.build_id else wording.UNKNOWN)
    yield row("cycles", lambda side: f"{side.cycles:,}" if side.cycles is not None else wording.UNKNOWN)
    yield row("lost per cycle", lambda side: _rate(side.rate_bytes_per_cycle))
    yield row("lost per hour", lambda side: _rate(side.rate_bytes_per_hour))
    yield row("unexplained", _unexplained)


def _short(name: str) -> str:
    shown = printable(name, 80)
    return shown if len(shown) <= 22 else f"...{shown[-19:]}"


def _rate(interval: Interval | None) -> str:
    return wording.interval_text(interval, lambda value: f"{format_rate(value)} B")[0]


def _unexplained(side: Side) -> str:
    if side.books is None:
        return wording.UNKNOWN
    return f"{side.books.unexplained_bytes:,} of {side.books.lost_bytes:,} B"


def _state(state: SiteState | None) -> str:
    if state is None:
        return "-"
    return format_rate(state.per_cycle_bytes) if state.per_cycle_bytes is not None else "?"


def _place(change: SiteChange) -> str:
    state = change.after or change.before
    name = printable(change.name, 160) if change.name else printable(" < ".join(change.chain[:3]), 160)
    place = wording.place_text(state.file, state.line, parts=1) if state else ""
    return f"{name} ({place})" if place else name
