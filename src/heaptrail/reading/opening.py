"""Opens what the user names, compressed or not, and complains of it in one sentence."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from io import BufferedReader
from typing import TYPE_CHECKING, NamedTuple

from heaptrail.errors import FormatError, UsageError
from heaptrail.reading.unpacking import Unpacker, is_packed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_UNPACKED_BYTES = 256 * 1024
_HEAD_BYTES = 4096
_FOREIGN = {
    b"\x7fELF": ("an ELF file", "give it with --elf, and the console log as LOG"),
    b"\x1f\x8b": ("a gzip file inside another", "unpack it once: gunzip FILE"),
    b"\x28\xb5\x2f\xfd": ("a zstd file inside another", "unpack it once: unzstd FILE"),
    b"PK\x03\x04": ("a zip file", "unpack it first: unzip FILE"),
    b"\xfd7zXZ\x00": ("an xz file", "unpack it first: unxz FILE"),
    b"BZh": ("a bzip2 file", "unpack it first: bunzip2 FILE"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z file", "unpack it first: 7z x FILE"),
    b"%PDF-": ("a PDF file", "the console log as text"),
    b"\x89PNG": ("a picture", "the console log as text"),
    b"\xff\xd8\xff": ("a picture", "the console log as text"),
}
_REPORT = b'"heaptrail.report/'
_REPORT_WITHIN_BYTES = 64


class Opened(NamedTuple):
    """A file being read.

    Args:
        stream: Its content, unpacked.
        name: File name without its folder, `standard input` for `-`.
        total_bytes: Size of the content, None where unknown.
        unpacker: What unpacks it, None where nothing does.
    """

    stream: BufferedReader
    name: str
    total_bytes: int | None
    unpacker: Unpacker | None = None

    @property
    def head(self) -> bytes:
        """How the content begins; nothing is consumed."""
        return self.stream.peek(_HEAD_BYTES)[:_HEAD_BYTES]


@contextmanager
def open_input(path: Path) -> Iterator[Opened]:
    """Open a log or recording for reading; `-` is standard input.

    Raises:
        UsageError: It cannot be opened.
        FormatError: It is a file of another kind.
    """
    if str(path) == "-":
        yield _unpacked(sys.stdin.buffer, "standard input", None)  # type: ignore[arg-type]  # stdin is buffered
        return
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a log", try_this=f"name a file in it, such as {path}/console.log")
    try:
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path} cannot be read: {reason}", try_this="check the name and its rights") from error
    with stream:
        size = path.stat().st_size if path.is_file() else None
        try:
            yield _unpacked(stream, path.name, size)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read on: {error.strerror}", try_this="copy it to another disk and read the copy"
            ) from error


def _unpacked(stream: BufferedReader, name: str, size: int | None) -> Opened:
    opened = Opened(stream, name, size)
    if is_packed(opened.head):
        unpacker = Unpacker(stream)
        opened = Opened(BufferedReader(unpacker, _UNPACKED_BYTES), name, None, unpacker)
    head = opened.head
    for magic, (what, advice) in _FOREIGN.items():
        if head.startswith(magic):
            raise FormatError(f"{name} is {what}, not a console log", try_this=advice)
    if head.startswith(b"{") and _REPORT in head[:_REPORT_WITHIN_BYTES]:
        # Its sources and device strings could be taken for lines of a console.
        raise FormatError(
            f"{name} is a saved report, not a console log", try_this="show it with heaptrail render, or give the log"
        )
    return opened
