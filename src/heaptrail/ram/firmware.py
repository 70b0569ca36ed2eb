"""The ELF's side of a post-mortem: where variables lie, which memory is writable, what read-only data holds."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from heaptrail.errors import EvidenceError
from heaptrail.ram.intervals import Interval, joined
from heaptrail.ram.structs import StructLayout, struct_layouts
from heaptrail.symbols.elf import open_image
from heaptrail.symbols.elftables import SHF_ALLOC, SHF_EXECINSTR, SHT_NOTE, SHT_SYMTAB, Section, read_tables

if TYPE_CHECKING:
    from pathlib import Path

    from heaptrail.limits import Limits

SHF_WRITE, SHF_TLS = 0x1, 0x400
_STT_NOTYPE, _STT_OBJECT, _STT_FUNC = 0, 1, 2
_NAME_BYTES = 4_096
_NO_SYMBOLS_ADVICE = "the unstripped ELF of the very build that ran; without symbols no heap can be found"


class DataSymbol(NamedTuple):
    """A variable; `size` is 0 where the file does not say."""

    address: int
    size: int
    name: str


class Firmware:
    """What an ELF says about RAM.

    Attributes:
        path, name, build_id, arch: As `ElfImage`'s.
        word_bytes: 4 or 8.
        machine: The CPU's number in ELF files (e_machine).
        order: Byte order as `struct` and numpy write it.
        writable: Sections that the program may write, sorted and joined: where roots are.
        readable_only: Code and constants: where none are.
        notes: Where notes of the linker lie, such as the build id.

    Args:
        path: The ELF.
        limits: As for `ElfImage`.

    Raises:
        UsageError, FormatError: As `ElfImage` does.
        EvidenceError: It has no symbol table.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.image = open_image(path, limits)
        self.path, self.name = path, self.image.name
        self.word_bytes = self.image.bits // 8
        self.order = "<" if self.image.little_endian else ">"
        with path.open("rb") as stream:
            tables = read_tables(stream, self.name, self.image.file_bytes, limits)
            self._sections = tables.sections
            self.machine = tables.machine
            symbols = next((s for s in tables.sections if s.type == SHT_SYMTAB and s.link < len(tables.sections)), None)
            if symbols is None:
                raise EvidenceError(f"{self.name} has no symbol table", try_this=_NO_SYMBOLS_ADVICE)
            names = tables.sections[symbols.link]
            stream.seek(symbols.offset)
            table = stream.read(symbols.size)
            stream.seek(names.offset)
            self._names = stream.read(names.size)
        self._load_symbols(table)
        self._layouts: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, StructLayout]] = {}
        alive = [s for s in tables.sections if s.flags & SHF_ALLOC and s.size and not s.flags & SHF_TLS]
        self.writable = joined((s.address, s.end) for s in alive if s.flags & SHF_WRITE)
        self.notes = [(s.address, s.end) for s in alive if s.type == SHT_NOTE and s.address]
        self.readable_only = joined((s.address, s.end) for s in alive if not s.flags & SHF_WRITE)

    def _load_symbols(self, table: bytes) -> None:
        wide = self.image.bits == 64
        fields = (
            [("name", "u4"), ("info", "u1"), ("other", "u1"), ("section", "u2"), ("value", "u8"), ("size", "u8")]
            if wide
            else [("name", "u4"), ("value", "u4"), ("size", "u4"), ("info", "u1"), ("other", "u1"), ("section", "u2")]
        )
        layout = np.dtype([(name, self.order + kind) for name, kind in fields])
        rows = np.frombuffer(table, layout, count=len(table) // layout.itemsize)
        kinds = rows["info"] & 0xF
        rows = rows[(rows["section"] != 0) & ((kinds == _STT_OBJECT) | (kinds == _STT_NOTYPE) | (kinds == _STT_FUNC))]
        kinds = rows["info"] & 0xF
        self._by_name: dict[str, list[tuple[int, int]]] = {}
        objects: list[tuple[int, int, str]] = []
        functions: dict[str, int] = {}
        columns = (rows["name"].tolist(), rows["value"].tolist(), rows["size"].tolist(), kinds.tolist())
        for name_at, value, size, kind in zip(*columns, strict=True):
            name = self._name_at(name_at)
            if not name or name[0] == "$":  # ARM's and RISC-V's mapping symbols
                continue
            if kind == _STT_FUNC:
                functions[name] = value & ~1 if self.image.arch == "arm" else value  # bit 0 says Thumb
                continue
            self._by_name.setdefault(name, []).append((value, size))
            if kind == _STT_OBJECT:
                objects.append((value, size, name))
        self._functions = functions
        self._objects = sorted(objects)
        self._starts = [entry[0] for entry in self._objects]

    def _name_at(self, offset: int) -> str:
        end = self._names.find(b"\0", offset, offset + _NAME_BYTES)
        return self._names[offset : end if end >= 0 else offset + _NAME_BYTES].decode("utf-8", "replace")

    @cached_property
    def _stems(self) -> dict[str, list[tuple[int, int]]]:
        """Variables without the suffix that a compiler gave them (`ucHeap.lto_priv.0`)."""
        stems: dict[str, list[tuple[int, int]]] = {}
        for name, places in self._by_name.items():
            stem, dot, _ = name.partition(".")
            if dot and stem:
                stems.setdefault(stem, []).extend(places)
        return stems

    def variable(self, name: str) -> DataSymbol | None:
        """The variable of this name, the largest where several files have one; None where there is none."""
        places = self._by_name.get(name) or self._stems.get(name)
        if not places:
            return None
        address, size = max(places, key=lambda place: place[1])
        return DataSymbol(address, size, name)

    def function(self, name: str) -> int | None:
        """The address of a function, None where there is none of this name."""
        return self._functions.get(name)

    def variables(self) -> list[DataSymbol]:
        """All variables with a size, by address."""
        return [DataSymbol(*entry) for entry in self._objects if entry[1]]

    def variable_at(self, address: int) -> DataSymbol | None:
        """The variable that holds `address`, None where none does."""
        index = bisect_right(self._starts, address) - 1
        # Small variables may be aliases inside a larger one, which then starts a little before.
        for entry in reversed(self._objects[max(index - 8, 0) : index + 1]):
            if entry[0] <= address < entry[0] + max(entry[1], 1):
                return DataSymbol(*entry)
        return None

    def section_at(self, address: int) -> Section | None:
        """The allocated section that holds `address`."""
        return next((s for s in self._sections if s.flags & SHF_ALLOC and s.address <= address < s.end), None)

    def constant(self, address: int, count: int) -> bytes | None:
        """`count` bytes that the file itself holds for `address`; None where it does not (as for .bss)."""
        section = self.section_at(address)
        if section is None or not section.in_file or address + count > section.end:
            return None
        with self.path.open("rb") as stream:
            stream.seek(section.offset + address - section.address)
            data = stream.read(count)
        return data if len(data) == count else None

    def structs(self, names: tuple[str, ...], files: tuple[str, ...]) -> dict[str, StructLayout]:
        """Layouts of structs as `struct_layouts` finds them, each set read once."""
        key = (names, files)
        if key not in self._layouts:
            self._layouts[key] = struct_layouts(self.path, names, files=files)
        return self._layouts[key]

    def code_sections(self) -> list[Interval]:
        """Where the code lies that the file holds."""
        return [(s.address, s.end) for s in self._sections if s.flags & SHF_EXECINSTR and s.in_file and s.size]
