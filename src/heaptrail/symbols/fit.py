"""How well an ELF fits the addresses of a capture. Data only: what follows from it is the diagnosis' to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.symbols.callsite import XTENSA_CODE_REGION, clean_address, ends_in_call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.model.observations import RawFrame
    from heaptrail.symbols.elf import ElfImage


class ImageFit(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over the distinct addresses of a capture.

    Args:
        inside: Addresses in the ELF's code.
        outside: Addresses elsewhere.
        example_outside: The lowest of these.
        after_call: Return addresses inside with a call instruction right before them.
        not_after_call: Return addresses inside without one. Random addresses are mostly these; those of the right ELF
            hardly ever (a kernel's hand-made end of a chain, stale words of a stack scan).
        example_not_after_call: The lowest of these.
    """

    inside: int
    outside: int
    example_outside: int | None = None
    after_call: int = 0
    not_after_call: int = 0
    example_not_after_call: int | None = None

    @property
    def share_inside(self) -> float | None:
        """Between 0 and 1; None without any address."""
        total = self.inside + self.outside
        return self.inside / total if total else None

    @property
    def share_after_call(self) -> float | None:
        """Between 0 and 1; None where it cannot be told (call addresses, a CPU without a simple rule, no code)."""
        total = self.after_call + self.not_after_call
        return self.after_call / total if total else None


def image_fit(image: ElfImage, frames: Iterable[RawFrame], *, region: int = XTENSA_CODE_REGION) -> ImageFit:
    """Count how the distinct addresses of `frames` lie in `image`.

    Args:
        image: The ELF.
        frames: Raw frames; repeated ones count once.
        region: See `callsite.clean_address`.
    """
    inside: set[int] = set()
    outside: set[int] = set()
    after: set[int] = set()
    not_after: set[int] = set()
    for frame in frames:
        address = clean_address(frame.pc, image.arch, region=region)
        # A call at the very end of a section returns behind it.
        held = image.is_executable(address) or (frame.kind == "return" and image.is_executable(address - 1))
        (inside if held else outside).add(address)
        if held and frame.kind == "return" and image.little_endian:
            code = image.code_before(address, 7) or image.code_before(address, 4)
            verdict = ends_in_call(code, image.arch) if code else None
            if verdict is not None:
                (after if verdict else not_after).add(address)
    return ImageFit(
        inside=len(inside),
        outside=len(outside),
        example_outside=min(outside, default=None),
        after_call=len(after),
        not_after_call=len(not_after),
        example_not_after_call=min(not_after, default=None),
    )
