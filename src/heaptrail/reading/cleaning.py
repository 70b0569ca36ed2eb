"""From the bytes of a console line to the text that a person would see.

Control sequences follow ECMA-48 (CSI, OSC, two-character escapes). A carriage return starts the line anew, so the last
piece that shows anything counts; a backspace goes back one column, as an echoed correction does.
"""

from __future__ import annotations

import re

_SPECIAL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f-\xff]")
_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROL = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\u200b\ud800-\udfff]")
_LOOKALIKES = str.maketrans({"\u00a0": " ", "\u2011": "-", "\u2007": " ", "\u202f": " "})
"""What word processors and web pages put in the place of a blank or a hyphen."""


def clean(raw: bytes) -> str:
    """The visible text of a line; bytes that are not UTF-8 become the replacement character."""
    if raw.endswith(b"\r"):
        raw = raw.rstrip(b"\r")
    if raw.isascii():
        text = raw.decode("ascii")
        if text.isprintable() or _SPECIAL.search(raw) is None:
            return text
    else:
        text = raw.decode("utf-8", "replace")
    text = _SEQUENCE.sub("", text)
    if "\r" in text:
        pieces = [piece for piece in text.split("\r") if piece.strip()]
        text = pieces[-1] if pieces else ""
    if "\b" in text:
        text = _with_backspaces(text)
    return _CONTROL.sub("", text).translate(_LOOKALIKES)


def _with_backspaces(text: str) -> str:
    cells: list[str] = []
    column = 0
    for character in text:
        if character == "\b":
            column = max(0, column - 1)
        elif column < len(cells):
            cells[column] = character
            column += 1
        else:
            cells.append(character)
            column += 1
    return "".join(cells)
