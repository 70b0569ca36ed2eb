"""Where the debug information of a stripped ELF is: the places that GDB looks in.

`objcopy --add-gnu-debuglink` names a file and its CRC, the linker's build id names one by content
(https://sourceware.org/gdb/current/onlinedocs/gdb/Separate-Debug-Files.html).
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from heaptrail.errors import HeaptrailError
from heaptrail.symbols.elf import ElfImage, open_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heaptrail.limits import Limits

_SYSTEM = Path("/usr/lib/debug")
_CHUNK = 1 << 20


def find_debug(elf: ElfImage, limits: Limits) -> ElfImage | None:
    """The file with the debug information of an ELF that has none; None where it is not found or is another build's."""
    for path in _places(elf):
        try:
            found = open_image(path, limits) if path.is_file() else None
        except HeaptrailError:
            continue
        if found is not None and found.debug_info and _belongs(elf, found):
            return found
    return None


def missing_debug(elf: ElfImage) -> str | None:
    """A sentence about debug information that was split off and is not at hand; None where nothing says so."""
    link = elf.debug_link
    if link is None:
        return None
    return f"{elf.name} is stripped: its debug information is in {link[0]}, which is not beside it (give --debug-file)"


def _places(elf: ElfImage) -> Iterator[Path]:
    folder = elf.path.parent
    if elf.debug_link is not None:
        name = Path(elf.debug_link[0]).name  # a name without folders, whatever the file says
        yield from (folder / name, folder / ".debug" / name)
    if elf.build_id is not None and len(elf.build_id) > 2:
        by_id = Path(".build-id", elf.build_id[:2], f"{elf.build_id[2:]}.debug")
        yield from (folder / by_id, folder / ".debug" / by_id, _SYSTEM / by_id)


def _belongs(elf: ElfImage, debug: ElfImage) -> bool:
    if elf.build_id and debug.build_id:
        return elf.build_id == debug.build_id
    return elf.debug_link is not None and _crc(debug.path) == elf.debug_link[1]


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc
