"""A file for speedscope (https://www.speedscope.app; works offline, too): stacks by live bytes, blocks and growth.

The format is speedscope's own, described at https://www.speedscope.app/file-format-schema.json: one table of frames,
and for each profile the stacks as indices, outermost first, with a weight each.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from heaptrail.reports import wording
from heaptrail.reports.untrusted import printable
from heaptrail.units import format_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.report import Frame, Report, Site

_SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"
_LARGEST_EXACT: Final = 1 << 53
"""Numbers are read as doubles; a weight beyond this cannot be a heap's."""


class SpeedscopeRenderer:
    """A profile for speedscope: live bytes, live blocks, and bytes that stay per cycle."""

    name: ClassVar[str] = "speedscope"
    suffixes: ClassVar[tuple[str, ...]] = (".speedscope.json",)

    def render(self, report: Report) -> bytes:
        """JSON, UTF-8. Growth is a profile of its own, and the first one, where any site grows per cycle."""
        frames = _Frames()
        stacks = [
            (frames.stack(wording.CLASSES[finding.finding_class][0], site), site)
            for finding in report.findings
            for site in finding.sites
        ]
        profiles = [
            _profile("live bytes", "bytes", stacks, lambda site: site.live_bytes),
            _profile("live blocks", "none", stacks, lambda site: site.live_blocks),
        ]
        growth = _profile("bytes that stay per cycle", "bytes", stacks, lambda site: site.per_cycle_bytes)
        if growth["samples"]:
            profiles.insert(0, growth)
        return msgspec.json.encode(
            {
                "$schema": _SCHEMA,
                "name": printable(report.headline, 200),
                "exporter": "heaptrail",
                "activeProfileIndex": 0,
                "shared": {"frames": frames.table},
                "profiles": profiles,
            }
        )


class _Frames:
    """The table of frames; equal ones stand in it once."""

    def __init__(self) -> None:
        self.table: list[dict[str, Any]] = []
        self._index: dict[tuple[str, str | None, int | None], int] = {}

    def stack(self, class_name: str, site: Site) -> list[int]:
        return [
            self._number(f"[{class_name}]", None, None),
            *(self._number(_name(frame), frame.file, frame.line) for frame in reversed(site.frames)),
        ]

    def _number(self, name: str, file: str | None, line: int | None) -> int:
        key = (name, file, line)
        found = self._index.get(key)
        if found is None:
            found = self._index[key] = len(self.table)
            row: dict[str, Any] = {"name": name}
            if file is not None:
                row["file"] = printable(file, 400)
                if line is not None and 0 < line < 1 << 31:
                    row["line"] = line
            self.table.append(row)
        return found


def _name(frame: Frame) -> str:
    return wording.frame_label(frame) if frame.function else format_address(frame.pc)


def _profile(
    name: str, unit: str, stacks: list[tuple[list[int], Site]], weigh: Callable[[Site], float | None]
) -> dict[str, Any]:
    weighed = [(stack, weigh(site) or 0) for stack, site in stacks]
    kept = [(stack, _whole(weight)) for stack, weight in weighed if 0 < weight <= _LARGEST_EXACT]
    total = math.fsum(weight for _, weight in kept)
    return {
        "type": "sampled",
        "name": name,
        "unit": unit,
        "startValue": 0,
        "endValue": _whole(total),
        "samples": [stack for stack, _ in kept],
        "weights": [weight for _, weight in kept],
    }


def _whole(value: float) -> float:
    """A whole number without `.0`."""
    return int(value) if value == int(value) else value
