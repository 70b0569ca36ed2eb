"""How well an ELF fits the addresses of a capture. Data only: what follows from it is the diagnosis' to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.symbols.callsite import OTHER, RULES, XTENSA_CODE_REGION, clean_address, ends_in_call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.model.observations import FrameKind, RawFrame
    from heaptrail.symbols.elf import ElfImage


class ImageFit(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over the distinct addresses of a capture.

    Args:
        inside: Addresses in the ELF's code.
        outside: Addresses elsewhere.
        example_outside: The lowest of these.
        calls: Addresses inside that are a call's, or right behind one, as their kind says.
        not_calls: Addresses inside that are not. Random addresses mostly are; those of the right ELF hardly ever (a
            kernel's hand-made end of a chain, stale words of a stack scan).
        example_not_call: The lowest of these.
        movable: The ELF runs at any address, so that its own are offsets from where it was loaded.
    """

    inside: int
    outside: int
    example_outside: int | None = None
    calls: int = 0
    not_calls: int = 0
    example_not_call: int | None = None
    movable: bool = False

    @property
    def share_inside(self) -> float | None:
        """Between 0 and 1; None without any address."""
        total = self.inside + self.outside
        return self.inside / total if total else None

    @property
    def share_calls(self) -> float | None:
        """Between 0 and 1; None where it cannot be told (a CPU without a simple rule, an ELF without its code)."""
        total = self.calls + self.not_calls
        return self.calls / total if total else None


def image_fit(image: ElfImage, frames: Iterable[RawFrame], *, region: int = XTENSA_CODE_REGION) -> ImageFit:
    """Count how the distinct addresses of `frames` lie in `image`.

    Args:
        image: The ELF.
        frames: Raw frames; repeated ones count once.
        region: See `callsite.clean_address`.
    """
    inside: set[int] = set()
    outside: set[int] = set()
    calls: set[int] = set()
    not_calls: set[int] = set()
    for frame in set(frames):
        address = clean_address(frame.pc, image.arch, region=region)
        # A call at the very end of a section returns behind it.
        held = image.is_executable(address) or (frame.kind == "return" and image.is_executable(address - 1))
        (inside if held else outside).add(address)
        verdict = _is_call(image, address, frame.kind) if held else None
        if verdict is not None:
            (calls if verdict else not_calls).add(address)
    return ImageFit(
        inside=len(inside),
        outside=len(outside),
        example_outside=min(outside, default=None),
        calls=len(calls),
        not_calls=len(not_calls),
        example_not_call=min(not_calls, default=None),
        movable=image.movable,
    )


def _is_call(image: ElfImage, address: int, kind: FrameKind) -> bool | None:
    """Whether there is a call where an address of this kind says so; None where that cannot be told."""
    steps = (0,) if kind == "return" else RULES.get(image.arch, OTHER).ends_after
    verdicts = [follows_call(image, address + step) for step in steps]
    return True if True in verdicts else False if False in verdicts else None


def follows_call(image: ElfImage, address: int) -> bool | None:
    """Whether a call instruction ends right before `address`; None where that cannot be told."""
    code = image.code_before(address, 7) or image.code_before(address, 4)
    return ends_in_call(code, image.arch) if code and image.little_endian else None
