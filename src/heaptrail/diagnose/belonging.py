"""Does this ELF belong to this capture? Names from the wrong build are worse than no names.

Two things can show that it does not: the build id that the capture carries, and backtrace addresses that lie outside
the ELF's executable sections. A rebuilt program shifts code by little, so addresses inside the text prove nothing by
themselves; an innermost frame that is no allocator in any backtrace of a listing is said as a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.errors import EvidenceError
from heaptrail.model.report import ReportProblem
from heaptrail.symbols import distinct_frames
from heaptrail.units import format_address

if TYPE_CHECKING:
    from heaptrail.model.evidence import Evidence
    from heaptrail.model.observations import RawFrame
    from heaptrail.symbols import Symbolizer

_INSIDE_AT_LEAST = 0.5
"""Share of distinct addresses that must lie in the ELF's text. Real captures hold some from boot ROMs and libraries
loaded elsewhere; with the ELF of another program hardly any address fits."""

_ADVICE = (
    "the ELF of the very build that ran (compare its build id), or --allow-mismatch to use this one with a warning"
)


def check_belonging(evidence: Evidence, symbolizer: Symbolizer, *, allow_mismatch: bool) -> tuple[ReportProblem, ...]:
    """Nothing when capture and ELF fit; warnings when they may not.

    Raises:
        EvidenceError: They do not belong together and `allow_mismatch` is False.
    """
    image = symbolizer.image
    if image is None:
        return ()
    stacks = [block.frames for dump in evidence.dumps for block in dump.blocks if block.frames]
    sentence = _build_id_conflict(evidence, image.name, image.build_id) or _outside_text(
        distinct_frames(stacks), symbolizer, image.name
    )
    if sentence is not None:
        if not allow_mismatch:
            raise EvidenceError(sentence, try_this=_ADVICE)
        return (ReportProblem(what="elf_mismatch", text=f"{sentence}; its names are used because of --allow-mismatch"),)
    return _no_allocator_inside(stacks, symbolizer, image.name)


def _build_id_conflict(evidence: Evidence, elf_name: str, build_id: str | None) -> str | None:
    for capture in evidence.captures:
        if capture.build_id and build_id and capture.build_id != build_id:
            return (
                f"{capture.name} was recorded with build {capture.build_id[:16]}, "
                f"but {elf_name} is build {build_id[:16]}"
            )
    return None


def _outside_text(frames: frozenset[RawFrame], symbolizer: Symbolizer, elf_name: str) -> str | None:
    outside = sorted(frame.pc for frame in frames if symbolizer.executable(frame.pc) is False)
    inside = len(frames) - len(outside)
    if not outside or inside >= _INSIDE_AT_LEAST * len(frames):
        return None
    return (
        f"{len(outside)} of {len(frames)} backtrace addresses lie outside the code of {elf_name} "
        f"(the first is {format_address(outside[0])})"
    )


def _no_allocator_inside(
    stacks: list[tuple[RawFrame, ...]], symbolizer: Symbolizer, elf_name: str
) -> tuple[ReportProblem, ...]:
    """A warning when many stacks share few innermost addresses, as a tracer in the allocator makes, and none is one."""
    innermost = {stack[0] for stack in stacks if len(stack) > 1}
    stacks_differ = len(set(stacks)) > len(innermost)
    if not innermost or not stacks_differ:
        return ()
    resolved = [symbolizer.resolve(frame) for frame in innermost]
    if any(frame.wrapper for frames in resolved for frame in frames):
        return ()
    name = next((frame.function for frames in resolved for frame in frames if frame.function), "no function")
    text = (
        f"no backtrace starts in an allocator according to {elf_name} (the innermost frame is {name}); it may be "
        "another build, or the allocator has a name of its own (then name it under `wrappers`)"
    )
    return (ReportProblem(what="elf_suspect", text=text),)
