"""The console's bytes as lines, and what is watched for in every one of them.

Nothing is ever missed because it came together with something else: each line is looked at once, in order, whatever
the procedure is doing at that moment.
"""

from __future__ import annotations

import re
from collections import deque

from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.reading.boots import banner
from heaptrail.reading.cleaning import clean

KEPT_LINES = 4096
"""Lines that stay readable; no command's answer that a procedure looks into is longer."""
_SAMPLE_BYTES = 96
_OUT_OF_MEMORY = re.compile(
    r"(?i)alloc(?:ation)?\w*(?:\(\w*\))? fail|\bno memory\b(?! leak)|\bout of memory\b|\bmemory exhausted\b"
)
_TRACER_NOTE = re.compile(r"^\s*memleak\s*:")
"""The tracer's summary counts failed allocations; that is no failure of this moment."""


class LineWatcher:
    """Splits output into lines and counts what matters.

    Args:
        cycle_mark, boot_mark: The user's patterns, searched in every line; None where not given. The start-up banners
            that reading knows count as boots as well.

    Attributes:
        count: Complete lines so far; line numbers here begin at 0.
        cycles: Lines that ended a cycle since `begin_boot`.
        boots: Lines that began a boot.
        out_of_memory: The line that told of memory running out, or None; a round that ends after it takes it back.
    """

    def __init__(self, *, cycle_mark: str | None, boot_mark: str | None) -> None:
        self._cycle_mark = re.compile(cycle_mark) if cycle_mark else None
        self._boot_mark = re.compile(boot_mark) if boot_mark else None
        self._kept: deque[str] = deque(maxlen=KEPT_LINES)
        self._partial = bytearray()
        self._sample = b""
        self.received_bytes = 0
        self.count = 0
        self.cycles = 0
        self.boots = 0
        self.out_of_memory: str | None = None

    def begin_boot(self) -> None:
        """The device began anew, and so do the counts of a boot."""
        self.cycles = 0
        self.out_of_memory = None

    def feed(self, data: bytes) -> None:
        """Take in what was received."""
        self.received_bytes += len(data)
        self._sample = (self._sample + data)[-_SAMPLE_BYTES:]
        *complete, rest = (bytes(self._partial) + data).split(b"\n")
        for raw in complete:
            self._line(raw[: DEFAULT_LIMITS.line_bytes])
        if len(rest) > DEFAULT_LIMITS.line_bytes:
            self._line(rest[: DEFAULT_LIMITS.line_bytes])
            rest = b""
        self._partial = bytearray(rest)

    def _line(self, raw: bytes) -> None:
        text = clean(raw)
        self._kept.append(text)
        self.count += 1
        if self._cycle_mark is not None and self._cycle_mark.search(text):
            self.cycles += 1
            self.out_of_memory = None  # the workload outlived it
        if banner(text) is not None or (self._boot_mark is not None and self._boot_mark.search(text)):
            self.boots += 1
        if self.out_of_memory is None and _OUT_OF_MEMORY.search(text) and not _TRACER_NOTE.match(text):
            self.out_of_memory = text.strip()[:120]

    @property
    def partial(self) -> str:
        """The line that has not ended yet."""
        return clean(bytes(self._partial))

    def forget_partial(self) -> None:
        """Begin a line here: what stands on it so far (a prompt) is dealt with."""
        self._partial.clear()

    def since(self, number: int) -> list[str]:
        """The complete lines from `number` on, those that are kept."""
        first_kept = self.count - len(self._kept)
        start = max(0, number - first_kept)
        return [self._kept[index] for index in range(start, len(self._kept))]

    def sample(self) -> str:
        """The last bytes that came, escaped, for an error."""
        return repr(self._sample)[1:]

    def looks_like_noise(self) -> bool:
        """Whether the last bytes are no text in any encoding, as a wrong baud rate makes them."""
        text = self._sample.decode("utf-8", "replace")
        odd = sum(
            1 for character in text if character == "\ufffd" or (character < " " and character not in "\r\n\t\x1b\b\a")
        )
        return len(text) >= 8 and odd > 0.25 * len(text)
