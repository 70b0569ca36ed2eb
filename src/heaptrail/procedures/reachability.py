"""A hunt's findings confirmed by a RAM image: does anything on the device still point to the blocks?

The image is taken once the hunt is over and the workload has stopped, so that what was held until teardown is given
back. A finding is only ever made worse by it: a block that something still points to may leak all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.errors import HeaptrailError, UsageError
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.report import ReportProblem
from heaptrail.ram.confirm import confirm
from heaptrail.ram.corewriter import write_core
from heaptrail.ram.firmware import Firmware
from heaptrail.ram.gdb import GdbTarget
from heaptrail.ram.survey import Question, survey

if TYPE_CHECKING:
    from pathlib import Path

    from heaptrail.clock import Clock
    from heaptrail.model.report import Report
    from heaptrail.procedures.workload import Ram, Workload


def question_of(asked: Ram, *, allow_mismatch: bool) -> Question:
    """The question to an image, from a `[ram]` table.

    Raises:
        UsageError: What is to be kept is no address.
    """
    return Question(
        heap=asked.heap,
        layout=asked.layout,
        roots=asked.roots,
        exclude=asked.exclude,
        keep=tuple(_address(text) for text in asked.keep),
        allow_mismatch=allow_mismatch,
    )


def confirmed_on_target(
    report: Report, workload: Workload, *, save: Path, clock: Clock, allow_mismatch: bool
) -> Report:
    """The report with what the target's memory says of its findings; unchanged where no gdb server is configured.

    Whatever goes wrong there costs no finding: it becomes a problem of the report.

    Args:
        report: Of the hunt.
        workload: Its `[target] gdb` and `elf`, and its `[ram]` table.
        save: Where the image is kept, as a core file.
        clock: Measures how long the target is halted.
        allow_mismatch: Go on although the image's code is not the ELF's.
    """
    server, elf = workload.target.gdb, workload.elf_path
    if server is None:
        return report
    try:
        if elf is None:
            raise UsageError("[target] gdb needs elf, too: where the heap is stands there", try_this="elf in [target]")
        firmware = Firmware(elf, DEFAULT_LIMITS)
        with GdbTarget(f"gdb:{server}", firmware, clock) as target:
            image = target.image(1)
        write_core(save, image, firmware)
        found = survey(image, firmware, question_of(workload.ram, allow_mismatch=allow_mismatch))
    except HeaptrailError as error:
        problem = ReportProblem(what="gdb", text=f"no finding was confirmed by a RAM image: {error.sentence}")
        return msgspec.structs.replace(report, problems=(*report.problems, problem))
    return confirm(report, found, firmware)


def _address(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(f"--keep {text}: this is no address", try_this="an address such as 0x20001000") from None
