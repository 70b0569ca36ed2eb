"""Which ELF of a folder belongs to a log: the one with the log's build id, else the only one there is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from heaptrail.errors import HeaptrailError, UsageError
from heaptrail.limits import DEFAULT_LIMITS, Limits
from heaptrail.symbols.elf import ElfImage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_MOST_FILES = 20_000
_NAMED = 4
_LINKED = {2, 3}  # e_type: ET_EXEC, ET_DYN


class Chosen(NamedTuple):
    """An ELF, and the file with its debug information where that is a file of its own."""

    elf: Path
    debug: Path | None = None


def choose(path: Path, build_ids: Collection[str] = (), limits: Limits = DEFAULT_LIMITS) -> Chosen:
    """The file itself, or the ELF of a folder that belongs to a log.

    Args:
        path: A file, or a folder, which is searched with all that is in it.
        build_ids: Those that the log carries.
        limits: As for `ElfImage`.

    Raises:
        UsageError: No ELF of the folder is the one, or several may be.
    """
    if not path.is_dir():
        return Chosen(path)
    images = list(_images(path, limits))
    programs = [image for image in images if image.holds_code]
    if build_ids:
        programs = [image for image in programs if _is_one_of(image.build_id, build_ids)]
        if not programs:
            wanted = " or ".join(sorted(build_id[:16] for build_id in build_ids))
            raise UsageError(
                f"none of the {len(images)} ELF files in {path} has the log's build id {wanted}",
                try_this="the folder of the build that ran",
            )
    if not programs:
        raise UsageError(f"{path} holds no linked ELF", try_this="the folder that the build writes its ELF to")
    alike = {image.identity: image for image in reversed(programs)}
    programs = [image for image in programs if alike.get(image.identity) is image]
    programs = [image for image in programs if image.debug_info] or programs
    if len(programs) > 1:
        names = [str(image.path.relative_to(path)) for image in programs[:_NAMED]]
        more = f" and {len(programs) - _NAMED} more" if len(programs) > _NAMED else ""
        why = "all have the log's build id" if build_ids else "the log carries no build id to choose by"
        raise UsageError(f"{path} holds {', '.join(names)}{more}, and {why}", try_this="--elf with the file itself")
    (program,) = programs
    debug = None
    if not program.debug_info and program.build_id:
        same = (image for image in images if image.build_id == program.build_id and image.debug_info)
        debug = next((image.path for image in same), None)
    return Chosen(program.path, debug)


def _is_one_of(build_id: str | None, wanted: Collection[str]) -> bool:
    """Whether an ELF's build id is one of these; a device may send the beginning only."""
    return build_id is not None and any(each and build_id.startswith(each) for each in wanted)


def _images(folder: Path, limits: Limits) -> Iterator[ElfImage]:
    """Every linked ELF in a folder, in the order of names; what cannot be read is none."""
    seen = 0
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            seen += 1
            if seen > _MOST_FILES:
                raise UsageError(
                    f"{folder} holds more than {_MOST_FILES:,} files",
                    try_this="a folder nearer to the ELF, or the file",
                )
            path = Path(where, name)
            if _is_linked(path):
                try:
                    yield ElfImage(path, limits)
                except HeaptrailError:
                    continue


def _is_linked(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            head = stream.read(18)
    except OSError:
        return False
    if len(head) < 18 or not head.startswith(b"\x7fELF"):
        return False
    return int.from_bytes(head[16:18], "big" if head[5] == 2 else "little") in _LINKED
