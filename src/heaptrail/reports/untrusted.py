"""Strings from a device, made safe to show.

A console log is untrusted: a task name may carry terminal control sequences (ECMA-48), bidirectional overrides that
make source read otherwise than it runs (Unicode TR 36), or ten thousand characters. What is shown is always printable
and bounded; the report's JSON form keeps the whole string.

Our output is often a CI server's log, and those take commands from it: GitHub's runner a line that begins with `::name`
and, anywhere, `##[name]`; Azure Pipelines `##vso[name]`; TeamCity `##teamcity[name]`. None of these gets through.
"""

from __future__ import annotations

import re
from typing import Final

NAME_CHARACTERS: Final = 160
"""A task or function name longer than this is cut; the longest mangled C++ names of firmware stay whole."""
TEXT_CHARACTERS: Final = 2_000
"""A sentence longer than this is cut."""

_CONTROL_SEQUENCE: Final = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: titles, links, clipboard
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[ -/]*[0-~]"  # two-character escapes and character sets
)
_SERVER_COMMAND: Final = re.compile(r"(##[A-Za-z.]*)\[")
_SERVER_COMMAND_JSON: Final = re.compile(rb"(##[A-Za-z.]*)\[")
_COMMAND_LINE: Final = re.compile(r"^([^\S\n]*)::", re.MULTILINE)
_BLANKS: Final = re.compile(r"[\t\r\n\v\f]+")


def printable(text: str, limit: int = TEXT_CHARACTERS) -> str:
    r"""`text` on one line, without control sequences, other unprintable characters written as `\x07` or `\u202e`.

    Bytes that were not UTF-8 (lone surrogates from `surrogateescape`) appear as `\x80` to `\xff`. What goes past
    `limit` characters is cut and said: `abc... (10,000 characters)`.
    """
    if not text.isprintable():
        text = _BLANKS.sub(" ", _CONTROL_SEQUENCE.sub("", text[: 16 * limit]))
        text = "".join(character if character.isprintable() else escaped(character) for character in text)
    if "##" in text:
        text = _SERVER_COMMAND.sub(r"\1\\[", text)
    if len(text) <= limit:
        return text
    return f"{text[:limit]}... ({len(text):,} characters)"


def plain_lines(text: str) -> str:
    r"""Lines for a log, none of which is a CI server's command: `::error::` at a beginning becomes `\::error::`."""
    return _COMMAND_LINE.sub(r"\1\\::", text)


def json_for_logs(content: bytes) -> bytes:
    r"""JSON that means the same and is no CI server's command: `##[` in a string as `##\u005b`."""
    return _SERVER_COMMAND_JSON.sub(rb"\1\\u005b", content) if b"##" in content else content


def source_line(text: str) -> str:
    """A line of source with its tabs as four columns and its indentation kept."""
    return printable(text.rstrip("\r\n").expandtabs(4), limit=400)


def escaped(character: str) -> str:
    r"""One character as its code: `\x1b`, `\u202e`, `\U000e0001`; the byte behind a lone surrogate as `\x80`."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # what surrogateescape makes of the bytes 0x80 to 0xff
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
