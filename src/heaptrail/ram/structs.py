"""Offsets of struct members from DWARF. The only importer of pyelftools in this package.

Only the compile units whose file is asked for are read, then others up to a bound: a firmware's DWARF takes seconds.
"""

from __future__ import annotations

import posixpath
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_MAX_DIES = 300_000
_MAX_GUESS_DIES = 8_000
"""Entries looked at for guesses: about a tenth of a second."""
_UNIT_LIMIT = 4_096
_BROKEN = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
           ValueError)  # fmt: skip
"""What pyelftools raises for broken DWARF besides its own errors."""
_UNNAMED_DEPTH = 4
"""Unnamed structs and unions are looked into this deep."""


class StructLayout(msgspec.Struct, frozen=True):
    """A struct: its size, and `members` with the offset and size in bytes of each.

    An array's size is that of all its elements; 0 where it is unknown. Members of unnamed structs and unions inside it
    count as its own.
    """

    name: str
    size: int
    members: dict[str, tuple[int, int]]

    def offset(self, *names: str) -> int | None:
        """The offset of the first member of these names that the struct has."""
        return next((self.members[name][0] for name in names if name in self.members), None)


class SizedStruct(msgspec.Struct, frozen=True):
    """A struct or class of the program: its name, its size, and at which offsets it holds pointers."""

    name: str
    size: int
    pointers: tuple[int, ...]


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

    broken = (ELFError, DWARFError, ConstructError, *_BROKEN)
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


def sized_structs(path: Path) -> tuple[SizedStruct, ...]:
    """Every named struct and class with a pointer in it, as far as a bound on the time allows; by name.

    Broken or missing DWARF gives what was read until then.
    """
    from elftools.common.exceptions import DWARFError, ELFError  # noqa: PLC0415 - as above
    from elftools.construct.core import ConstructError  # noqa: PLC0415
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415

    found: dict[str, SizedStruct] = {}
    broken = (ELFError, DWARFError, ConstructError, *_BROKEN)
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            if elf.has_dwarf_info():
                dwarf = elf.get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)
                budget = _MAX_GUESS_DIES
                for unit in _units(dwarf, ()):
                    budget = _add_sized(unit, found, budget)
                    if budget <= 0:
                        break
    except broken:
        pass
    return tuple(found[name] for name in sorted(found))


def _add_sized(unit: Any, found: dict[str, SizedStruct], budget: int) -> int:  # noqa: ANN401
    for die in unit.get_top_DIE().iter_children():
        budget -= 1
        if budget <= 0:
            return 0
        if die.tag not in ("DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_typedef"):
            continue
        name = die.attributes.get("DW_AT_name")
        struct = _stripped(die)
        if name is None or struct is None or "DW_AT_byte_size" not in struct.attributes:
            continue
        text = name.value.decode("utf-8", "replace")
        label = text if die.tag != "DW_TAG_structure_type" else f"struct {text}"
        pointers = tuple(_pointers(struct, 0, _UNNAMED_DEPTH))
        if pointers and label not in found:
            budget -= len(pointers)
            found[label] = SizedStruct(label, struct.attributes["DW_AT_byte_size"].value, pointers)
    return budget


def _pointers(struct: Any, base: int, depth: int) -> Iterator[int]:  # noqa: ANN401
    """Offsets of pointer members, those of inner structs included; unions and arrays say nothing for sure."""
    for child in struct.iter_children():
        place = child.attributes.get("DW_AT_data_member_location")
        if (
            child.tag not in ("DW_TAG_member", "DW_TAG_inheritance")
            or place is None
            or not isinstance(place.value, int)
        ):
            continue
        kind = child.get_DIE_from_attribute("DW_AT_type") if "DW_AT_type" in child.attributes else None
        for _ in range(16):
            if kind is None or kind.tag not in ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type"):
                break
            kind = kind.get_DIE_from_attribute("DW_AT_type") if "DW_AT_type" in kind.attributes else None
        if kind is None:
            continue
        if kind.tag == "DW_TAG_pointer_type":
            yield base + place.value
        elif kind.tag in ("DW_TAG_structure_type", "DW_TAG_class_type") and depth:
            yield from _pointers(kind, base + place.value, depth - 1)


def _units(dwarf: Any, files: Sequence[str]) -> Iterator[Any]:  # noqa: ANN401 - pyelftools has no types
    """Units of these files first, then the others."""
    if not files:
        yield from islice(dwarf.iter_CUs(), _UNIT_LIMIT)
        return
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
        if die.tag in ("DW_TAG_structure_type", "DW_TAG_class_type"):
            return die
        if die.tag not in ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type"):
            return None
        if "DW_AT_type" not in die.attributes:
            return None
        die = die.get_DIE_from_attribute("DW_AT_type")
    return None


def _layout(name: str, struct: Any) -> StructLayout:  # noqa: ANN401
    members: dict[str, tuple[int, int]] = {}
    _add_members(struct, 0, members, _UNNAMED_DEPTH)
    return StructLayout(name, struct.attributes["DW_AT_byte_size"].value, members)


def _add_members(struct: Any, base: int, members: dict[str, tuple[int, int]], depth: int) -> None:  # noqa: ANN401
    for child in struct.iter_children():
        attributes = child.attributes
        if child.tag != "DW_TAG_member":
            continue
        place = attributes.get("DW_AT_data_member_location")
        # In a union DWARF leaves the place out: everything begins at 0. A bit field's place is that of its first bit.
        offset = base + (place.value if place is not None and isinstance(place.value, int) else 0)
        if place is None and "DW_AT_data_bit_offset" in attributes:
            offset = base + attributes["DW_AT_data_bit_offset"].value // 8
        if "DW_AT_name" in attributes:
            key = attributes["DW_AT_name"].value.decode("utf-8", "replace")
            members.setdefault(key, (offset, _type_size(child)))
        elif depth and "DW_AT_type" in attributes:
            inner = child.get_DIE_from_attribute("DW_AT_type")
            if inner.tag in ("DW_TAG_structure_type", "DW_TAG_union_type"):
                _add_members(inner, offset, members, depth - 1)


def _type_size(member: Any) -> int:  # noqa: ANN401
    """The size of a member's type, 0 where it is unknown."""
    die, count = member, 1
    for _ in range(16):
        if "DW_AT_byte_size" in die.attributes and die.tag != "DW_TAG_member":
            return count * int(die.attributes["DW_AT_byte_size"].value)
        if "DW_AT_type" not in die.attributes:
            return 0
        if die.tag == "DW_TAG_array_type":
            count *= _elements(die)
        die = die.get_DIE_from_attribute("DW_AT_type")
    return 0


def _elements(array: Any) -> int:  # noqa: ANN401
    """How many elements an array type has over all its dimensions, 0 for one without bounds."""
    count = 1
    for child in array.iter_children():
        if child.tag != "DW_TAG_subrange_type":
            continue
        bound, number = child.attributes.get("DW_AT_upper_bound"), child.attributes.get("DW_AT_count")
        if number is not None and isinstance(number.value, int):
            count *= number.value
        elif bound is not None and isinstance(bound.value, int):
            count *= bound.value + 1
        else:
            return 0
    return count
