"""Finds resets, and tells two signs of one reset from two resets.

Banners, from the systems' own sources: the ESP chips' ROM (`ESP-ROM:`, `rst:0x`), Zephyr (`*** Booting`), NuttX's
shell, RT-Thread's logo, U-Boot, Allwinner's BOOT0, and heaptrail's example program.
"""

from __future__ import annotations

import re

_BANNERS: tuple[tuple[bytes, str, str], ...] = (
    (b"ESP-ROM:", r"ESP-ROM:esp", "ESP ROM"),
    (b"rst:0x", r"\brst:0x[0-9a-fA-F]+ ?\(", "ESP reset reason"),
    (b"*** Booting ", r"\*\*\* Booting \S", "Zephyr"),
    (b"NuttShell (NSH)", r"NuttShell \(NSH\)", "NuttX"),
    (b"- RT -", r"^\s*- RT -\s+Thread Operating System", "RT-Thread"),
    (b"U-Boot SPL ", r"^\s*U-Boot SPL \d{4}\.\d", "U-Boot SPL"),
    (b"U-Boot ", r"^\s*U-Boot \d{4}\.\d", "U-Boot"),
    (b"BOOT0 is starting", r"BOOT0 is starting", "BOOT0"),
    (b"*** rtplayer boot", r"\*\*\* rtplayer boot", "rtplayer"),
)
BANNER_NEEDLES = tuple(needle for needle, _, _ in _BANNERS)
SYSTEMS = {
    "ESP ROM": "espidf",
    "ESP reset reason": "espidf",
    "Zephyr": "zephyr",
    "NuttX": "nuttx",
    "RT-Thread": "rtthread",
}
"""The dialect of the system whose banner it is, where it has one."""
_PATTERN = re.compile("|".join(f"(?P<b{i}>{pattern})" for i, (_, pattern, _) in enumerate(_BANNERS)))
_SAME_RESET_LINES = 100
"""One start-up prints several signs of itself (ROM, loader, system) within so many lines."""


def banner(text: str) -> str | None:
    """The name of the system whose start-up banner this line is."""
    match = _PATTERN.search(text)
    return None if match is None or match.lastgroup is None else _BANNERS[int(match.lastgroup[1:])][2]


class Boots:
    """Counts boots.

    Attributes:
        number: The boot that is running, from 1. Signs of a start before anything was observed belong to boot 1.
    """

    def __init__(self) -> None:
        self.number = 1
        self._observed = False
        self._begun_line: int | None = None
        self._signs: set[str] = set()

    def observed(self) -> None:
        """Something was read in this boot, so the next sign of a start is another one."""
        self._observed = True

    def sign(self, kind: str, line: int) -> bool:
        """A sign of a start was seen; whether it begins a boot, rather than being one more sign of the same."""
        if self._begun_line is not None and not self._observed:
            same = line - self._begun_line <= _SAME_RESET_LINES and kind not in self._signs
            if same:
                self._signs.add(kind)
                return False
        if self._observed or self._begun_line is not None:
            self.number += 1
        self._observed = False
        self._begun_line = line
        self._signs = {kind}
        return True
