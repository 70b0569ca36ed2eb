"""Which files an assistant may see: those in the folders that the server was started with, and no others.

A name is resolved with all its links before it is compared, so neither `..` nor a symbolic link leads out. A refusal
says the same whether the file exists or not.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from heaptrail.errors import UsageError
from heaptrail.reports.jsonfile import looks_like_report
from heaptrail.reports.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Kind = Literal["report", "capture", "log", "elf"]

_HEAD_BYTES: Final = 512
_FILES_LOOKED_AT: Final = 20_000
_LINKED: Final = (b"\x02\0", b"\x03\0", b"\0\x02", b"\0\x03")
"""`e_type` of an executable or a position-independent one, in both byte orders; an object file resolves nothing."""
_LOG_SUFFIXES: Final = (".log", ".txt", ".log.gz", ".txt.gz", ".csv")
_CAPTURE_SUFFIXES: Final = (".cast", ".cast.gz")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the tools can use. `path` is what they take as its name."""

    path: str
    kind: Kind
    size_bytes: int
    modified_unix_s: float


class Folders:
    """The folders that a server may read.

    Args:
        roots: Existing folders; links in their own names are followed once, here.

    Raises:
        UsageError: One of them is no folder.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        for root in roots:
            if not root.is_dir():
                raise UsageError(f"{root} is no folder", try_this="folders with captures, reports and ELFs")
        self._roots = tuple(root.resolve(strict=True) for root in roots)

    def file(self, name: str) -> Path:
        """The regular file of that name, relative to one of the folders or absolute.

        Raises:
            UsageError: There is no such file in the folders.
        """
        for root in self._roots:
            try:
                found = (root / name).resolve(strict=True)
                allowed = self._holds(found) and found.is_file()
            except (OSError, ValueError, RuntimeError):  # not there; a NUL in the name; links in a circle
                continue
            if allowed:
                return found
        raise UsageError(
            f"{printable(name, 200)!r} is no file in the folders that this server was started with",
            try_this="a path as list_runs gives it",
        )

    def entries(self) -> tuple[list[Entry], bool]:
        """Every file that the tools can use, the last changed first, and whether all files were looked at."""
        found: list[Entry] = []
        for number, path in enumerate(self._walk()):
            if number >= _FILES_LOOKED_AT:
                return _latest_first(found), False
            entry = self._entry(path)
            if entry is not None:
                found.append(entry)
        return _latest_first(found), True

    def _holds(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self._roots)

    def _walk(self) -> Iterator[Path]:
        for root in self._roots:
            for folder, subfolders, names in os.walk(root):  # links to folders are not followed
                subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
                yield from (root / folder / name for name in sorted(names) if not name.startswith("."))

    def _entry(self, path: Path) -> Entry | None:
        try:
            if not path.is_file() or not self._holds(path.resolve(strict=True)):
                return None
            facts = path.stat()
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
        except (OSError, RuntimeError):  # gone meanwhile, not ours to read, links in a circle
            return None
        kind = _kind(path.name.lower(), head)
        if kind is None:
            return None
        return Entry(path=self._shown(path), kind=kind, size_bytes=facts.st_size, modified_unix_s=facts.st_mtime)

    def _shown(self, path: Path) -> str:
        """The name relative to its folder; the whole path where an earlier folder has a file of that name, too."""
        root = next(root for root in self._roots if path.is_relative_to(root))
        name = str(path.relative_to(root))
        return name if self.file(name) == path.resolve() else str(path)


def _kind(name: str, head: bytes) -> Kind | None:
    if head.startswith(b"\x7fELF"):
        return "elf" if head[16:18] in _LINKED else None
    if looks_like_report(head):
        return "report"
    if name.endswith(_CAPTURE_SUFFIXES):
        return "capture"
    return "log" if name.endswith(_LOG_SUFFIXES) else None


def _latest_first(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (-entry.modified_unix_s, entry.path))
