"""Source lines around a frame's line, where the source is at hand.

The file's name comes from the ELF and its lines go into a report that is sent to others, so only regular text files
with a source file's suffix are opened.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from heaptrail.errors import UsageError
from heaptrail.model.report import SourceExcerpt

if TYPE_CHECKING:
    from collections.abc import Sequence

LINES_AROUND = 4
MAX_FILE_BYTES = 4 << 20
MAX_LINE_CHARACTERS = 400
_KEPT_FILES = 64
_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("c", "h", "cc", "cpp", "cxx", "c++", "hh", "hpp", "hxx", "h++", "ipp", "tcc", "inl", "inc", "def", "s"),
        *("asm", "rs", "m", "mm", "ino", "zig", "ads", "adb"),
    )
)


def parse_source_map(entries: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """`OLD=NEW` entries as pairs, the longest OLD first.

    Raises:
        UsageError: An entry has no `=`, or nothing before it.
    """
    pairs = []
    for entry in entries:
        old, equals, new = entry.partition("=")
        if not equals or not old:
            raise UsageError(
                f"the source map {entry!r} is not of the form OLD=NEW",
                try_this="the build machine's folder, `=`, and the same folder here: /workspace/rtos=/home/me/rtos",
            )
        pairs.append((_slashes(old), new))
    return tuple(sorted(pairs, key=lambda pair: -len(pair[0])))


class SourceFiles:
    """Reads excerpts; remembers the last files it read.

    Args:
        source_map: `OLD=NEW` prefixes, as GCC's -fdebug-prefix-map has them, from the build's paths to this machine's.
    """

    def __init__(self, source_map: Sequence[str] = ()) -> None:
        self._pairs = parse_source_map(source_map)
        self._files: dict[str, tuple[str, ...] | None] = {}

    def excerpt(self, file: str, line: int) -> SourceExcerpt | None:
        """The lines around 1-based `line`; None where the file is not here, is no source text, or has no such line."""
        if file not in self._files:
            if len(self._files) >= _KEPT_FILES:
                self._files.pop(next(iter(self._files)))
            self._files[file] = self._read(file)
        lines = self._files[file]
        if lines is None or not 1 <= line <= len(lines):
            return None
        first = max(line - LINES_AROUND, 1)
        return SourceExcerpt(first_line=first, lines=lines[first - 1 : line + LINES_AROUND])

    def _read(self, file: str) -> tuple[str, ...] | None:
        for candidate in self._candidates(file):
            data = _source_bytes(candidate)
            if data is not None:
                # Compilers count line feeds alone; a form feed or a lone CR is no line of theirs.
                lines = data.decode("utf-8", "replace").removesuffix("\n").split("\n")
                return tuple(line.rstrip("\r")[:MAX_LINE_CHARACTERS] for line in lines)
        return None

    def _candidates(self, file: str) -> list[str]:
        """Mapped names first: the user says that these are the right ones."""
        plain = _slashes(file)
        mapped = []
        for old, new in self._pairs:
            rest = plain.removeprefix(old)
            if rest != plain and (not rest or rest.startswith("/") or old.endswith("/")):
                mapped.append(new + ("/" + rest if old.endswith("/") and not new.endswith("/") else rest))
        return [*mapped, file]


def _source_bytes(name: str) -> bytes | None:
    path = Path(name)
    try:
        if path.suffix.lower() not in _SUFFIXES:
            return None
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_FILE_BYTES:
            return None
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return None if b"\0" in data or len(data) > MAX_FILE_BYTES else data


def _slashes(path: str) -> str:
    """A path with `/` throughout; a build on Windows wrote the other one."""
    return path.replace("\\", "/")
