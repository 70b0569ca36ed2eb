"""From RAM images to a report: survey each, judge their growth, confirm it by reachability."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import msgspec

from heaptrail.errors import EvidenceError
from heaptrail.ram.contents import ContentCounts, content_counts, growth_by_content
from heaptrail.ram.evidence import evidence_of
from heaptrail.ram.memory import Memory
from heaptrail.ram.survey import Question, Survey, survey
from heaptrail.ram.verdict import confirmed, report_of_one
from heaptrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from heaptrail.model.report import Report
    from heaptrail.model.verdict import JudgeSettings
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.images import Image
    from heaptrail.symbols import Symbolizer

_COUNTER_BYTES = (1, 2, 4, 8)


class CycleRule(msgspec.Struct, frozen=True, kw_only=True):
    """How many rounds of the workload were completed at each image.

    Args:
        apart: Rounds between two images, None where that is unknown.
        counter: A variable of the firmware that counts rounds, read from each image; it goes before `apart`.
    """

    apart: int | None = None
    counter: str | None = None


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What some images show.

    Args:
        surveys: In order; the memory of all but the last is let go, so that many images cost no more than two.
        cycles: Rounds completed at each, None where that is unknown.
        contents: Of each, blocks by size and content; empty for a single image.
    """

    surveys: tuple[Survey, ...]
    cycles: tuple[int, ...] | None
    contents: tuple[ContentCounts, ...] = ()


def examine(images: Iterable[Image], firmware: Firmware, question: Question, rule: CycleRule) -> Examined:
    """Every image surveyed, in order.

    Raises:
        HeaptrailError: As `survey` does; or the cycle counter cannot be read, or falls from image to image.
    """
    surveys: list[Survey] = []
    counts: list[int] = []
    contents: list[ContentCounts] = []
    for image in images:
        if rule.counter is not None:
            counts.append(_counted(image, firmware, rule.counter, counts))
        if surveys:
            contents.append(content_counts(surveys[-1], firmware))
            surveys[-1] = _without_memory(surveys[-1])
        surveys.append(survey(image, firmware, question))
    cycles = tuple(counts) if rule.counter is not None else None
    if cycles is None and rule.apart is not None:
        cycles = tuple(rule.apart * index for index in range(len(surveys)))
    if contents:
        contents.append(content_counts(surveys[-1], firmware))
    return Examined(surveys=tuple(surveys), cycles=cycles, contents=tuple(contents))


def report_on(
    examined: Examined,
    firmware: Firmware,
    settings: JudgeSettings,
    *,
    options: Mapping[str, str],
    allow_mismatch: bool = False,
) -> Report:
    """The report on one image or on several.

    Raises:
        EvidenceError: Backtraces in the image are not of this ELF, and `allow_mismatch` is False.
    """
    surveys = examined.surveys
    versions = {"heaptrail": __version__, "python": platform.python_version()}
    traced = any(origin.frames for found in surveys for origin in found.origins)
    if len(surveys) == 1 and not traced:
        return report_of_one(surveys[0], firmware, versions=versions, options=options)
    # A single image needs neither analysis nor the half second that importing its statistics takes.
    from heaptrail.diagnose import diagnose  # noqa: PLC0415

    report = diagnose(
        evidence_of(surveys, examined.cycles),
        _symbolizer(firmware, traced=traced),
        settings,
        versions=versions,
        options=options,
        allow_mismatch=allow_mismatch,
    )
    if len(surveys) == 1:  # of one moment, only reachability can decide anything
        report = msgspec.structs.replace(report, verdict="inconclusive", headline="", reasons=())
    growth = growth_by_content(examined.contents, examined.cycles)
    return confirmed(report, surveys[-1], firmware, images=len(surveys), growth=growth)


def _symbolizer(firmware: Firmware, *, traced: bool) -> Symbolizer:
    """Names for backtraces, where there are any."""
    if traced:
        from heaptrail.symbols.lines import open_symbolizer  # noqa: PLC0415 - most images have no backtraces

        return open_symbolizer(firmware.path)
    from heaptrail.symbols import FakeSymbolizer  # noqa: PLC0415

    return FakeSymbolizer({}, image=firmware.image.info)


def _counted(image: Image, firmware: Firmware, name: str, before: Sequence[int]) -> int:
    """The firmware's own counter of rounds."""
    symbol = firmware.variable(name)
    if symbol is None or symbol.size not in _COUNTER_BYTES:
        raise EvidenceError(
            f"--cycle-counter {name}: {firmware.name} has no integer variable of this name",
            try_this="the name of a global or static integer that the firmware counts up once per round",
        )
    value = image.memory.number(symbol.address, symbol.size)
    if value is None or (before and value < before[-1]):
        what = "does not hold it" if value is None else f"has {value:,}, fewer than the image before it"
        raise EvidenceError(
            f"--cycle-counter {name}: {image.name} {what}",
            try_this="images of one run, in the order in which they were taken",
        )
    return value


def _without_memory(found: Survey) -> Survey:
    memory = Memory((), order=found.image.memory.order, word_bytes=found.image.memory.word_bytes)
    return msgspec.structs.replace(found, image=msgspec.structs.replace(found.image, memory=memory))
