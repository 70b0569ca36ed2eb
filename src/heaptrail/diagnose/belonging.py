"""Does this ELF belong to this capture? Names from the wrong build are worse than no names.

Three things can show that it does not: the build id that the capture carries, backtrace addresses that lie outside the
ELF's executable sections, and addresses inside that are no call: a rebuilt program shifts its code by little, so that
every address is still inside, but where a call stood there is something else. An innermost frame that is no allocator
in any backtrace of a listing is said as a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.errors import EvidenceError
from heaptrail.model.report import ReportProblem
from heaptrail.symbols import distinct_frames
from heaptrail.units import format_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.evidence import CaptureInfo, Evidence
    from heaptrail.model.observations import RawFrame
    from heaptrail.symbols import Symbolizer
    from heaptrail.symbols.fit import ImageFit

_INSIDE_AT_LEAST = 0.5
"""Share of distinct addresses that must lie in the ELF's text. Real captures hold some from boot ROMs and libraries
loaded elsewhere; with the ELF of another program hardly any address fits."""

_CALLS_AT_LEAST = 0.5
"""Share of the addresses inside that must stand at a call. With the right ELF it is all but a few (the hand-made end of
a chain, a stale word of a stack scan); with another build it is about what chance gives, a tenth to a third."""

_FEW_ADDRESSES = 4
"""Fewer than this say nothing about calls."""

_ADVICE = (
    "the ELF of the very build that ran (compare its build id), or --allow-mismatch to use this one with a warning"
)
_MOVABLE_ADVICE = "link the program with -no-pie and run it again; without --elf the report is by addresses"


def check_belonging(evidence: Evidence, symbolizer: Symbolizer, *, allow_mismatch: bool) -> tuple[ReportProblem, ...]:
    """Nothing when capture and ELF fit; warnings when they may not.

    Raises:
        EvidenceError: They do not belong together and `allow_mismatch` is False.
    """
    stacks = [block.frames for dump in evidence.dumps for block in dump.blocks if block.frames]
    return check_stacks(evidence.captures, stacks, symbolizer, allow_mismatch=allow_mismatch)


def check_stacks(
    captures: Sequence[CaptureInfo],
    stacks: list[tuple[RawFrame, ...]],
    symbolizer: Symbolizer,
    *,
    allow_mismatch: bool,
) -> tuple[ReportProblem, ...]:
    """The same for the stacks of captures of any kind; one stack may stand there many times. Raises as above."""
    image = symbolizer.image
    if image is None:
        return ()
    fit = symbolizer.fit(distinct_frames(stacks))
    sentence = _build_id_conflict(captures, image.name, image.build_id)
    advice = _ADVICE
    if sentence is None and fit is not None:
        sentence = _outside_text(fit, image.name)
        if sentence is None:
            sentence = _not_at_calls(fit, image.name)
        elif fit.movable:
            advice = _MOVABLE_ADVICE
    if sentence is not None:
        if not allow_mismatch:
            raise EvidenceError(sentence, try_this=advice)
        return (ReportProblem(what="elf_mismatch", text=f"{sentence}; its names are used because of --allow-mismatch"),)
    return _no_allocator_inside(stacks, symbolizer, image.name)


def _build_id_conflict(captures: Sequence[CaptureInfo], elf_name: str, build_id: str | None) -> str | None:
    for capture in captures:
        if capture.build_id and build_id and not _same_build(capture.build_id, build_id):
            return (
                f"{capture.name} was recorded with build {capture.build_id[:16]}, "
                f"but {elf_name} is build {build_id[:16]}"
            )
    return None


def _same_build(one: str, other: str) -> bool:
    """Whether one is the other's beginning: a device's event stream carries 20 bytes at most."""
    return one.startswith(other) or other.startswith(one)


def _outside_text(fit: ImageFit, elf_name: str) -> str | None:
    if fit.share_inside is None or fit.share_inside >= _INSIDE_AT_LEAST or fit.example_outside is None:
        return None
    loaded = "; it is position-independent (PIE), and the log does not say where it was loaded" if fit.movable else ""
    return (
        f"{fit.outside} of {fit.inside + fit.outside} backtrace addresses lie outside the code of {elf_name} "
        f"(the first is {format_address(fit.example_outside)}){loaded}"
    )


def _not_at_calls(fit: ImageFit, elf_name: str) -> str | None:
    known = fit.calls + fit.not_calls
    if fit.share_calls is None or fit.share_calls >= _CALLS_AT_LEAST or known < _FEW_ADDRESSES:
        return None
    return (
        f"{fit.not_calls} of {known} backtrace addresses stand at no call in {elf_name}, so it is another build "
        f"(the first is {format_address(fit.example_not_call or 0)})"
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
