"""Whether an image is of the program that the ELF holds: by build id, by the program's checksum, by its code."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from heaptrail.errors import EvidenceError
from heaptrail.ram.heaps.places import BUILD_ADVICE
from heaptrail.units import format_address

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.images import Image
    from heaptrail.ram.memory import Memory

_CODE_SAMPLE_BYTES = 65_536
_CODE_SECTIONS_SAMPLED = 16
_CODE_MAY_DIFFER = 0.02
"""Share of code bytes that breakpoints and patched literals may have changed."""
_BUILD_ID_SHOWN = 12
_NT_GNU_BUILD_ID = 3


def mismatches(image: Image, firmware: Firmware, *, allowed: bool) -> list[str]:
    """Sentences on how the image differs from the ELF; empty where they belong together or nothing can tell.

    Raises:
        EvidenceError: They do not belong together, and that is not `allowed`.
    """
    found = [
        sentence
        for sentence in (_build_id(image.memory, firmware), _program(image, firmware), _code(image.memory, firmware))
        if sentence is not None
    ]
    if found and not allowed:
        raise EvidenceError(found[0], try_this=BUILD_ADVICE + "; or --allow-mismatch to go on with a warning")
    return found


def _build_id(memory: Memory, firmware: Firmware) -> str | None:
    """The note with the build id lies in memory as in the file, where the linker script keeps it."""
    ours = firmware.image.build_id
    for first, end in firmware.notes:
        there = memory.read(first, end - first)
        # Other notes of the linker have the same name: its type tells the build id.
        if ours is None or there is None or there[12:16] != b"GNU\0" or set(there[8:12]) != {0, _NT_GNU_BUILD_ID}:
            continue
        theirs = there[16 : 16 + len(ours) // 2].hex()
        if theirs != ours:
            return (
                f"the image is of the build {theirs[:_BUILD_ID_SHOWN]}…, but {firmware.name} is "
                f"{ours[:_BUILD_ID_SHOWN]}… (build ids)"
            )
    return None


def _program(image: Image, firmware: Firmware) -> str | None:
    """The checksum of the program's ELF file, which ESP-IDF's core dumps carry."""
    told = image.program_sha256
    if told is None:
        return None
    digest = hashlib.sha256()
    with firmware.path.open("rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    if digest.hexdigest().startswith(told):
        return None
    return (
        f"the image says that the program's ELF file has the SHA-256 {told[:_BUILD_ID_SHOWN]}…, but that of "
        f"{firmware.name} is {digest.hexdigest()[:_BUILD_ID_SHOWN]}…"
    )


def _code(memory: Memory, firmware: Firmware) -> str | None:
    """Where the image holds the program's code it must be the ELF's."""
    for first, end in firmware.code_sections()[:_CODE_SECTIONS_SAMPLED]:
        count = min(end - first, _CODE_SAMPLE_BYTES)
        there, ours = memory.read(first, count), firmware.constant(first, count)
        if there is None or ours is None:
            continue
        different = sum(a != b for a, b in zip(there, ours, strict=True))
        if different > _CODE_MAY_DIFFER * count:
            return (
                f"the image's code at {format_address(first)} is not that of {firmware.name}: {different:,} of "
                f"{count:,} bytes differ"
            )
    return None
