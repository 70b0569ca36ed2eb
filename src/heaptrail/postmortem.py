"""From RAM images to a report: survey each, judge their growth, confirm it by reachability."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import msgspec

from heaptrail.errors import EvidenceError
from heaptrail.ram.survey import Question, Survey, survey
from heaptrail.ram.verdict import confirmed, evidence_of, report_of_one
from heaptrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from heaptrail.model.report import Report
    from heaptrail.model.verdict import JudgeSettings
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.images import Image

_COUNTER_BYTES = (1, 2, 4, 8)


class CycleRule(msgspec.Struct, frozen=True, kw_only=True):
    """How many rounds of the workload were completed at each image.

    Args:
        apart: Rounds between two images, None where that is unknown.
        counter: A variable of the firmware that counts rounds, read from each image; it goes before `apart`.
    """

    apart: int | None = None
    counter: str | None = None


def examine(images: Iterable[Image], firmware: Firmware, question: Question) -> list[Survey]:
    """Every image surveyed, in order.

    Raises:
        HeaptrailError: As `survey` does.
    """
    return [survey(image, firmware, question) for image in images]


def report_on(
    surveys: Sequence[Survey],
    firmware: Firmware,
    settings: JudgeSettings,
    rule: CycleRule,
    *,
    options: Mapping[str, str],
) -> Report:
    """The report on one image or on several.

    Raises:
        EvidenceError: The cycle counter cannot be read, or does not grow from image to image.
    """
    versions = {"heaptrail": __version__, "python": platform.python_version()}
    if len(surveys) == 1:
        return report_of_one(surveys[0], firmware, versions=versions, options=options)
    # A single image needs neither analysis nor the half second that importing its statistics takes.
    from heaptrail.diagnose import diagnose  # noqa: PLC0415
    from heaptrail.symbols import FakeSymbolizer  # noqa: PLC0415

    evidence = evidence_of(surveys, _cycles(surveys, firmware, rule))
    report = diagnose(
        evidence, FakeSymbolizer({}, image=firmware.image.info), settings, versions=versions, options=options
    )
    return confirmed(report, surveys[-1], firmware, images=len(surveys))


def _cycles(surveys: Sequence[Survey], firmware: Firmware, rule: CycleRule) -> list[int] | None:
    if rule.counter is None:
        return None if rule.apart is None else [rule.apart * index for index in range(len(surveys))]
    symbol = firmware.variable(rule.counter)
    if symbol is None or symbol.size not in _COUNTER_BYTES:
        raise EvidenceError(
            f"--cycle-counter {rule.counter}: {firmware.name} has no integer variable of this name",
            try_this="the name of a global or static integer that the firmware counts up once per round",
        )
    counts: list[int] = []
    for found in surveys:
        value = found.image.memory.number(symbol.address, symbol.size)
        if value is None or (counts and value < counts[-1]):
            what = "does not hold it" if value is None else f"has {value:,}, fewer than the image before it"
            raise EvidenceError(
                f"--cycle-counter {rule.counter}: {found.image.name} {what}",
                try_this="images of one run, in the order in which they were taken",
            )
        counts.append(value)
    return counts
