"""Where a report goes: chosen renderers to chosen files, and the exit status that the verdict stands for."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from heaptrail.errors import UsageError
from heaptrail.registry import resolve
from heaptrail.reports import REGISTRY, Renderer
from heaptrail.reports.untrusted import plain_lines, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from heaptrail.errors import HeaptrailError
    from heaptrail.model.report import Report
    from heaptrail.model.verdict import VerdictWord
    from heaptrail.suppressions import Suppression

EXIT_STATUS: dict[VerdictWord, int] = {"no_leak": 0, "leak": 1, "inconclusive": 3}

_STDOUT = Path("-")
_WIDEST_TEXT = 120
"""Longer lines than this are hard to read, however wide the terminal is."""


def check_targets(format_name: str | None, outputs: Sequence[Path] | None) -> list[tuple[str, Path]]:
    """The format for each output, found before any work is done so that a typo costs nothing.

    Raises:
        UsageError: A format is unknown, or a file's suffix does not say one.
    """
    if format_name is not None:
        resolve(REGISTRY, format_name, kind="report format")
    return [(format_name or _format_of(path), path) for path in outputs or [_STDOUT]]


def _format_of(path: Path) -> str:
    if path == _STDOUT:
        return "terminal"
    suffixes = {suffix: name for name in REGISTRY for suffix in _suffixes_of(name)}
    for suffix in sorted(suffixes, key=len, reverse=True):  # `.speedscope.json` before `.json`
        if path.name.endswith(suffix):
            return suffixes[suffix]
    raise UsageError(
        f"the suffix of {path.name} does not say which format to write",
        try_this=f"--format with one of: {', '.join(sorted(REGISTRY))}",
    )


def _suffixes_of(name: str) -> tuple[str, ...]:
    renderer: type[Renderer] = resolve(REGISTRY, name, kind="report format")
    return renderer.suffixes


def load_known(paths: Sequence[Path] | None) -> tuple[Suppression, ...]:
    """The entries of all `--suppressions` files, read before any work is done.

    Raises:
        UsageError, FormatError: A file cannot be read, or holds something else.
    """
    if not paths:
        return ()
    from heaptrail.suppressions import load_suppressions

    return tuple(entry for path in paths for entry in load_suppressions(path))


def with_known(report: Report, known: Sequence[Suppression], tolerate: float | None = None) -> Report:
    """The report with the known leaks marked, as of today."""
    if not known:
        return report
    from datetime import UTC, datetime

    from heaptrail.suppressions import mark_suppressed

    today = datetime.now(UTC).date()
    return mark_suppressed(report, known, today=today, tolerate_bytes_per_cycle=tolerate)


def exit_status(report: Report) -> int:
    """What a command leaves with: 0 also where every leak is a known one."""
    return 0 if report.all_suppressed else EXIT_STATUS[report.verdict]


def say(text: str, to: Callable[[str], object] | None = None) -> None:
    """One line on standard error (or `to`); it may hold what a device sent, so it is made harmless first."""
    (to or sys.stderr.write)(f"{plain_lines(printable(text))}\n")
    sys.stderr.flush()


def say_error(error: HeaptrailError) -> None:
    """What was found where, and what to try."""
    say(f"heaptrail: {error.sentence}")
    say(f"try: {error.try_this}")


def write_report(report: Report, targets: Sequence[tuple[str, Path]]) -> None:
    """Render the report to each target; says on standard error which files were written.

    Raises:
        UsageError: A file cannot be written.
    """
    for format_name, path in targets:
        renderer = _renderer(format_name, path)
        content = renderer.render(report)
        with open_binary(path) as out:
            out.write(content)
        if path != _STDOUT:
            say(f"wrote {path}")


def _renderer(format_name: str, path: Path) -> Renderer:
    """The format's renderer; text for a terminal that a person watches has its width and colour."""
    if format_name == "terminal" and path == _STDOUT and sys.stdout.isatty():
        from heaptrail.reports.terminal import TerminalRenderer

        return TerminalRenderer(
            width=min(shutil.get_terminal_size().columns, _WIDEST_TEXT),
            colour="NO_COLOR" not in os.environ,
            ascii_only=(sys.stdout.encoding or "").lower().replace("-", "") != "utf8",
        )
    renderer: Renderer = resolve(REGISTRY, format_name, kind="report format")()
    return renderer


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """A file to write, with its folders made; `-` is standard output.

    Raises:
        UsageError: The file cannot be written.
    """
    if path == _STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            yield out
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", try_this="another --output path") from error
