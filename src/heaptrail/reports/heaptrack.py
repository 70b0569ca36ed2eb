"""A data file for heaptrack: `heaptrack_gui` and `heaptrack_print` open it.

The format is heaptrack's interpreted text (file format version 2; github.com/KDE/heaptrack,
`src/analyze/accumulatedtracedata.cpp` reads it): a line has a letter and numbers in hexadecimal. `s` is a string, `i`
an address with its function, file and line and those that it was inlined into, `t` an address and the trace of its
caller, `a` a size and a trace, `+` and `-` one block of such a kind allocated and freed, `c` a time in milliseconds.
What is numbered counts from 1, `a` from 0.

heaptrack calls leaked what is not freed at the end. So every live block is allocated, and then those are freed that no
leak finding holds: its peak is all that is live, and its leaks are ours.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, ClassVar, Final

from heaptrail.reports import wording
from heaptrail.reports.untrusted import NAME_CHARACTERS, printable
from heaptrail.units import format_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from heaptrail.model.report import Frame, Report, Site

_HEADER: Final = "v 10400 2"
_BLOCKS_AT_MOST: Final = 20_000
"""Events of one site. More blocks are written as so many larger ones; the bytes stay exact."""
_ADDRESS_MASK: Final = (1 << 64) - 1
_BYTES_AT_MOST: Final = 1 << 53
_LINE_AT_MOST: Final = (1 << 31) - 1


class HeaptrackRenderer:
    """A data file for heaptrack_gui and heaptrack_print: peak is what is live, leaked is what leaks."""

    name: ClassVar[str] = "heaptrack"
    suffixes: ClassVar[tuple[str, ...]] = (".heaptrack.gz",)

    def render(self, report: Report) -> bytes:
        """The gzipped text; the same report gives the same bytes."""
        text = "".join(f"{line}\n" for line in _File(report).lines())
        return gzip.compress(text.encode(), compresslevel=6, mtime=0)


class _File:
    """The tables of one file; each entry is written before it is first referred to."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._strings: dict[str, int] = {}
        self._addresses: dict[tuple[int, ...], int] = {}
        self._traces: dict[tuple[int, int], int] = {}
        self._kinds = 1  # kind 0 is never allocated: heaptrack takes a free of it for that of a temporary block

    def lines(self) -> Iterator[str]:
        yield _HEADER
        captures = self._report.provenance.captures
        yield f"X heaptrail {printable(captures[0].name, 160) if captures else 'report'}"
        yield "I 1000 0"
        yield "a 0 0"
        yield "c 0"
        freed: list[tuple[int, int]] = []
        for finding in self._report.findings:
            for site in finding.sites:
                events: list[tuple[int, int]] = []
                for size, count in _sizes(site):
                    yield from self._kind(site, size)
                    events.append((self._kinds - 1, count))
                yield from (f"+ {kind:x}" for kind, count in events for _ in range(count))
                if finding.finding_class not in wording.GROWING:
                    freed += events
        yield "c 1"
        yield from (f"- {kind:x}" for kind, count in freed for _ in range(count))
        yield "c 2"

    def _kind(self, site: Site, size: int) -> Iterator[str]:
        trace = 0
        for group in reversed(_groups(site.frames)):
            pending: list[str] = []
            address = self._address(group, pending)
            key = (address, trace)
            trace = self._traces.get(key, 0)
            if not trace:
                trace = self._traces[key] = len(self._traces) + 1
                pending.append(f"t {address:x} {key[1]:x}")
            yield from pending
        self._kinds += 1
        yield f"a {size:x} {trace:x}"

    def _address(self, group: Sequence[Frame], pending: list[str]) -> int:
        pc = group[-1].pc & _ADDRESS_MASK
        numbers = [pc, self._string(printable(group[-1].module or "", NAME_CHARACTERS), pending)]
        for frame in group:
            name = wording.frame_label(frame) if frame.function else format_address(frame.pc)
            numbers.append(self._string(name, pending))
            numbers.append(self._string(printable(frame.file or "", 400), pending))
            numbers.append(min(max(frame.line or 0, 0), _LINE_AT_MOST))
        key = tuple(numbers)
        found = self._addresses.get(key)
        if found is None:
            found = self._addresses[key] = len(self._addresses) + 1
            pending.append("i " + " ".join(f"{number:x}" for number in numbers))
        return found

    def _string(self, text: str, pending: list[str]) -> int:
        if not text:
            return 0
        found = self._strings.get(text)
        if found is None:
            found = self._strings[text] = len(self._strings) + 1
            pending.append(f"s {text}")
        return found


def _groups(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Innermost first, the inlined frames of one address together with the one that they were inlined into."""
    groups: list[list[Frame]] = [[]]
    for frame in frames:
        groups[-1].append(frame)
        if not frame.inlined:
            groups.append([])
    return [group for group in groups if group]


def _sizes(site: Site) -> list[tuple[int, int]]:
    """Sizes and how many blocks of each, which add up to the site's bytes; a site's own sizes are not counted apart."""
    total = min(max(site.live_bytes, 0), _BYTES_AT_MOST)
    blocks = min(max(site.live_blocks, 0), _BLOCKS_AT_MOST)
    if not blocks:
        return []
    size, larger = divmod(total, blocks)
    return [(s, n) for s, n in ((size, blocks - larger), (size + 1, larger)) if n]
