"""The lines that firmware prints of its own: `Free heap: 123456`, `minimum free heap size: 98765 bytes`.

There is no format to rely on, so little is accepted: a label made of known words, `:` or `=`, and a whole number that
is bytes. A number in KB, with a thousands separator or a fraction is left alone, as is every other wording. `is` in
place of the colon is accepted only where nothing else stands on the line, since it is how people write, too.

Two dialects read them: `espidf` where something else shows that the chip is an ESP, and `firmware` anywhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects.text import place
from heaptrail.model.observations import HeapSample

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.model.observations import AnyObservation

_KINDS = ("internal", "psram", "spiram", "dma", "dram", "iram", "8bit")
_KIND = f"(?:{'|'.join(_KINDS)})"
TRIGGERS = (
    b" bytes free",
    b"/s, free ",
    b"ree heap",
    b"ree Heap",
    b"REE HEAP",
    b"ree_heap",
    b"reeHeap",
    b"reeheap",
    b"ree memory",
    b"min heap size",
    b"eap free",
    b"eap_free",
    b"ree internal",
    b"ree Internal",
    b"ree_internal",
    b"ree PSRAM",
    b"ree psram",
    b"reePsram",
    b"ree SPIRAM",
    b"argest free block",
    b"argest Free Block",
    b"Maximum heap block: ",
    b"heap watermark: ",
)
_BESIDE_A_CALL = r"(?:[ _](?:before|after|during)[ _]\w[^:=,;|]{0,40}?)?"
"""`Free heap after the request: 204316`: a figure of now, with what the firmware did."""
_VALUE = (
    rf"(?:\(\))?\s*(?:\((?P<kind2>{_KIND})\)\s*)?(?:[:=]|(?<=\s)(?P<is>is)\s)\s*(?P<value>\d{{1,10}})(?![\d_a-z]|[.,]\d)"
    r"(?!\s*(?:[km]i?b?(?:ytes?)?\b|kilo|mega|words?\b|%|/s|->|=>|→|to\s))"
)
_LOW_WORD = r"(?:min(?:imum)?[ _.]{0,2}(?:ever[ _]?)?)"
_FIGURE = re.compile(
    rf"(?<![a-z])(?P<prefix>(?:current|curr|total|remaining|available)[ _]|(?:esp[_.])?get_?|{_KIND}[ _])?"
    rf"(?P<low>{_LOW_WORD})?(?:free[ _]?(?:(?P<kind1>{_KIND})[ _]?)?"
    rf"(?:heap(?:[ _]?(?:size|memory|mem))?|(?P<memory>memory))(?:[ _]since[ _](?:boot|start))?{_BESIDE_A_CALL}"
    rf"|(?P<console>min heap size)|heap[ _]free|free[ _]?(?P<kind3>psram|spiram|iram|dram)){_VALUE}"
)
_LARGEST = re.compile(rf"(?<![a-z])(?:largest|biggest|max)[ _]?(?:free[ _])?block(?:[ _]size)?{_VALUE}")
_BESIDE = re.compile(
    r"(?<![a-z])(?:(?P<low>min(?:imum)?)|largest|biggest)\s*[:=]\s*(?P<value>\d{1,10})(?![\d_a-z]|[.,]\d)(?!\s*[km%])"
)
_BARE_KIND = re.compile(
    rf"(?:^\W{{0,8}}|: )free (?P<kind>{_KIND}) (?P<free>\d{{3,10}})(?![\w.,%]| ?[kmu%])"
    r"(?: (?:biggest|largest) block (?P<largest>\d{1,10})\b)?"
)
"""`Free internal 42476 biggest block 23552`, without a colon: only at the beginning of a line or behind a log's tag."""
_OTHER_MOMENT = re.compile(
    r"(?:max(?:imum)?|initial|first|previous|prev|last|low(?:est)?|peak|old|avg|average|expected|required|needed"
    r"|critical)[ _]$"
)
"""What stands before a label that is not about the heap as it is now."""
_OF_TOTAL = re.compile(
    r"\bHeap: (\d{1,10})/(\d{1,10}) bytes free\b(?:.*?\bmin (\d{1,10})\b)?(?:.*?\blargest block (\d{1,10})\b)?"
)
_BEHIND = re.compile(r"\b[Hh]eap: (\d{1,10}) bytes free\b|\bTime \d{1,10}, idle -?\d{1,9}/s, free (\d{1,10}),")
"""`ChibiOS heap: 248 bytes free`; OpenBeken's line of every second."""
_BARE = re.compile(r"\W*$")
_BARE_END = re.compile(
    r"(?:[\W\d]{1,24}(?:bytes?|b|min(?:imum)?|max(?:imum)?|largest|free|heap|block|size|total|is)\b){0,9}[\W\d]{0,24}$"
)
_TYPED = re.compile(r"^\s*[\w.:-]{0,32}> ?free\s*$")
_NUMBER = re.compile(r"^\s*\d{3,10}\s*$")
_TYPED_LINES = 4
_FLIPPER_FIRST = re.compile(r"^\s*(?:Free heap size|heap free): \d+\s*$")
_FLIPPER_LAST = re.compile(r"^\s*(?:Maximum heap block|heap watermark): \d+\s*$")
_FLIPPER_LINES = 12
_OTHERS = ("Application stopped", "Malloc failed. Core:", "xPortGet")


class OneLiners:
    """One sample for each line. `Free heap size: N` alone may be the first line of the Flipper's `free`: it waits.

    Args:
        dialect: Whose they are.
        console: Read the bare number that ESP-IDF's console example prints behind a typed `free`.
    """

    def __init__(self, dialect: str, *, console: bool = False) -> None:
        self._dialect = dialect
        self._console = console
        self._held: list[AnyObservation] = []
        self._left = 0
        self._seen = False
        self._typed_left = 0

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold, while a sample waits."""
        return max(self._left, self._typed_left)

    def tick(self, line: Line) -> list[AnyObservation]:
        """A line has passed: the Flipper's table, if it is one, is over in a few."""
        self._typed_left = max(0, self._typed_left - 1)
        if not self._held:
            return []
        self._left -= 1
        if _FLIPPER_LAST.match(line.text):
            self._held, self._left = [], 0
        return self.close() if self._left == 0 else []

    def read(self, line: Line) -> list[AnyObservation] | None:
        """What this line completes; None when it is none of these."""
        if self._typed_left and _NUMBER.match(line.text):
            self._typed_left = 0
            return [*self.close(), HeapSample(free_bytes=int(line.text), **place(line, self._dialect))]
        if self._console and _TYPED.match(line.text):
            self._typed_left = _TYPED_LINES
            return []
        if any(word in line.text for word in _OTHERS):
            return None
        samples = self._of_total(line) or self._samples(line)
        if not samples:
            return None
        self._seen = True
        found = self.close()
        if _FLIPPER_FIRST.match(line.text):
            self._held, self._left = samples, _FLIPPER_LINES
            return found
        return found + samples

    def _samples(self, line: Line) -> list[AnyObservation]:
        """One for each kind of memory that the line speaks of."""
        text = line.text.lower()
        heaps: dict[str | None, dict[str, int]] = {}
        for match in _FIGURE.finditer(text):
            if match["memory"] and not re.match(r"\s*bytes?\b", text[match.end() :]):
                continue  # `Free memory` is said of many things; ESP-IDF's examples say bytes behind it
            if _OTHER_MOMENT.search(text, 0, match.start()):
                continue
            if match["is"] and not (_BARE.match(text[: match.start()]) and _BARE_END.match(text[match.end() :])):
                continue
            prefix = (match["prefix"] or "").strip(" _.")
            kind = match["kind1"] or match["kind2"] or match["kind3"] or (prefix if prefix in _KINDS else None)
            figures = heaps.setdefault(kind, {})
            figures.setdefault("min" if match["low"] or match["console"] else "free", int(match["value"]))
        bare = _BARE_KIND.search(text)
        if bare is not None:
            heaps.setdefault(bare["kind"], {})["free"] = int(bare["free"])
            if bare["largest"]:
                heaps[bare["kind"]]["largest"] = int(bare["largest"])
        largest = _LARGEST.search(text) if heaps or self._seen else None
        if largest is not None and len(heaps) < 2:
            heap = next(iter(heaps), largest["kind2"])
            heaps.setdefault(heap, {})["largest"] = int(largest["value"])
        if len(heaps) == 1:
            figures = next(iter(heaps.values()))
            for match in _BESIDE.finditer(text) if "free" in figures else ():
                figures.setdefault("min" if match["low"] else "largest", int(match["value"]))
        return [
            HeapSample(
                heap=heap,
                free_bytes=figures.get("free"),
                min_free_bytes=figures.get("min"),
                largest_free_bytes=figures.get("largest"),
                **place(line, self._dialect),
            )
            for heap, figures in heaps.items()
        ]

    def close(self) -> list[AnyObservation]:
        """The sample that waits, if any."""
        held, self._held, self._left = self._held, [], 0
        return held

    def _of_total(self, line: Line) -> list[AnyObservation]:
        """Meshtastic's `Heap: FREE/TOTAL bytes free (…), min N, largest block N`."""
        match = _OF_TOTAL.search(line.text)
        if match is None:
            match = _BEHIND.search(line.text)
            free_bytes = None if match is None else int(match[1] or match[2])
            return [] if free_bytes is None else [HeapSample(free_bytes=free_bytes, **place(line, self._dialect))]
        free, total, low, largest = (None if digits is None else int(digits) for digits in match.groups())
        return [
            HeapSample(
                free_bytes=free,
                total_bytes=total,
                min_free_bytes=low,
                largest_free_bytes=largest,
                **place(line, self._dialect),
            )
        ]
