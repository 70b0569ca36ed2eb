"""Offsets of struct members from DWARF. The only importer of pyelftools in this package.

Only the compile units whose file is asked for are read, then others up to a bound: a firmware's DWARF takes seconds.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_MAX_DIES = 300_000
_UNIT_LIMIT = 4_096


class StructLayout(msgspec.Struct, frozen=True):
    """A struct: its size, and `members` with the offset and size in bytes of each (size 0 where unknown)."""

    name: str
    size: int
    members: dict[str, tuple[int, int]]

    def offset(self, *names: str) -> int | None:
        """The offset of the first member of these names that the struct has."""
        return next((self.members[name][0] for name in names if name in self.members), None)


def struct_layouts(path: Path, names: Sequence[str], *, files: Sequence[str]) -> dict[str, StructLayout]:
    """The layouts of structs (or of typedefs of them) by name, as far as the DWARF has them.

    Args:
        path: An ELF whose tables were checked before (`Firmware`).
        names: Struct tags and typedef names.
        files: Base names of the source files that define them; their units are read first.

    Returns:
        What was found. Broken or missing DWARF finds nothing: it is no reason to stop.
    """
    from elftools.common.exceptions import DWARFError, ELFError  # noqa: PLC0415 - 30 ms, only where it is needed
    from elftools.construct.core import ConstructError  # noqa: PLC0415
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415

    broken = (ELFError, DWARFError, ConstructError, ArithmeticError, AssertionError, AttributeError, LookupError,
              MemoryError, OSError, RuntimeError, TypeError, ValueError)  # fmt: skip
    found: dict[str, StructLayout] = {}
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            if not elf.has_dwarf_info():
                return {}
            dwarf = elf.get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)
            budget = _MAX_DIES
            for unit in _units(dwarf, files):
                budget = _read_unit(unit, names, found, budget)
                if len(found) == len(names) or budget <= 0:
                    break
    except broken:
        return found
    return found


def _units(dwarf: Any, files: Sequence[str]) -> Iterator[Any]:  # noqa: ANN401 - pyelftools has no types
    """Units of these files first, then the others."""
    others = []
    for index, unit in enumerate(dwarf.iter_CUs()):
        if index >= _UNIT_LIMIT:
            break
        name = unit.get_top_DIE().attributes.get("DW_AT_name")
        base = posixpath.basename(name.value.decode("utf-8", "replace").replace("\\", "/")) if name else ""
        if base in files:
            yield unit
        else:
            others.append(unit)
    yield from others


def _read_unit(unit: Any, names: Sequence[str], found: dict[str, StructLayout], budget: int) -> int:  # noqa: ANN401
    """Add the structs of one unit; returns what is left of the budget of DIEs."""
    for die in unit.get_top_DIE().iter_children():
        budget -= 1
        if budget <= 0:
            return 0
        attribute = die.attributes.get("DW_AT_name")
        if attribute is None or die.tag not in ("DW_TAG_structure_type", "DW_TAG_typedef"):
            continue
        name = attribute.value.decode("utf-8", "replace")
        if name not in names or name in found:
            continue
        struct = _stripped(die)
        if struct is not None and "DW_AT_byte_size" in struct.attributes:
            found[name] = _layout(name, struct)
    return budget


def _stripped(die: Any) -> Any:  # noqa: ANN401
    """The struct behind typedefs and qualifiers, None where it is something else."""
    for _ in range(16):
        if die.tag == "DW_TAG_structure_type":
            return die
        if die.tag not in ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type"):
            return None
        if "DW_AT_type" not in die.attributes:
            return None
        die = die.get_DIE_from_attribute("DW_AT_type")
    return None


def _layout(name: str, struct: Any) -> StructLayout:  # noqa: ANN401
    members: dict[str, tuple[int, int]] = {}
    for child in struct.iter_children():
        attributes = child.attributes
        if child.tag != "DW_TAG_member" or "DW_AT_name" not in attributes:
            continue
        place = attributes.get("DW_AT_data_member_location")
        if place is not None and isinstance(place.value, int):
            key = attributes["DW_AT_name"].value.decode("utf-8", "replace")
            members[key] = (place.value, _type_size(child))
    return StructLayout(name, struct.attributes["DW_AT_byte_size"].value, members)


def _type_size(member: Any) -> int:  # noqa: ANN401
    """The size of a member's type, 0 where it is an array or unknown."""
    die = member
    for _ in range(16):
        if "DW_AT_byte_size" in die.attributes:
            return int(die.attributes["DW_AT_byte_size"].value)
        if "DW_AT_type" not in die.attributes or die.tag == "DW_TAG_array_type":
            return 0
        die = die.get_DIE_from_attribute("DW_AT_type")
    return 0
