"""Calls and jumps in machine code: which instruction ends at an address, and where every branch of a section leads.

Thumb-2 and RISC-V are read at every second byte, in step with the instructions or not: code that is data in truth (a
literal pool, the second half of an instruction) then gives branches too many, never one too few. Who concludes from a
branch that is not there is safe.

Encodings: Armv7-M Architecture Reference Manual, A7.7; RISC-V unprivileged ISA, chapters 2 and 16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

LONGEST_BYTES = 8
"""What `branch_ending_at` looks at: auipc and jalr together."""
_LINKS = (1, 5)
"""RISC-V's link registers: ra, and t0 of millicode."""


class Branch(NamedTuple):
    """One instruction that leads elsewhere. `target` is None where a register decides."""

    start: int
    target: int | None
    links: bool


class Branches(NamedTuple):
    """Every branch of a stretch of code, each array sorted.

    Args:
        at, to: Jumps (conditional ones too) and their targets.
        indirect: Jumps through a register that is no return address.
        called: Targets of direct calls, each once.
        made: Addresses that pairs of instructions put together, each once.
    """

    at: Ints
    to: Ints
    indirect: Ints
    called: Ints
    made: Ints


def branch_ending_at(code: bytes, end: int, arch: str) -> Branch | None:
    """The call or unconditional jump that ends right before `end`.

    Args:
        code: The bytes up to `end`, `LONGEST_BYTES` of them where there are so many.
        end: Their end's address.
        arch: As in `heaptrail.symbols.callsite.RULES`.

    Returns:
        None where none does, where it could be one of two, or where the CPU has no reader here.
    """
    reader = _ENDING.get(arch)
    return reader(code, end) if reader is not None and len(code) >= 4 else None


def branches_in(code: bytes, address: int, arch: str) -> Branches | None:
    """Every branch of `code`, which begins at `address`; None for a CPU without a reader here."""
    reader = _ALL.get(arch)
    if reader is None:
        return None
    halves = np.frombuffer(code[: len(code) // 2 * 2], dtype="<u2").astype(np.int64)
    if len(halves) < 2:
        halves = np.zeros(2, dtype=np.int64)
    return reader(halves, address)


def _signed(value: Ints, bits: int) -> Ints:
    signed: Ints = value - ((value >> (bits - 1)) << bits)
    return signed


def _sign(value: int, bits: int) -> int:
    return value - ((value >> (bits - 1)) << bits)


# --- Thumb-2


def _thumb_offset(first: Ints, second: Ints) -> Ints:
    """Of BL, BLX and B.W: S:I1:I2:imm10:imm11:0."""
    sign = first >> 10 & 1
    i1 = 1 ^ (second >> 13 & 1) ^ sign
    i2 = 1 ^ (second >> 11 & 1) ^ sign
    whole = sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1
    return _signed(whole, 25)


def _thumb_ending(code: bytes, end: int) -> Branch | None:
    first, second = int.from_bytes(code[-4:-2], "little"), int.from_bytes(code[-2:], "little")
    if first & 0xF800 == 0xF000 and second & 0x9000 == 0x9000:  # BL, B.W
        offset = int(_thumb_offset(np.array([first]), np.array([second]))[0])
        return Branch(end - 4, end + offset, links=second & 0x4000 != 0)
    if first & 0xF800 == 0xF000 and second & 0xD001 == 0xC000:  # BLX, to ARM code
        offset = int(_thumb_offset(np.array([first]), np.array([second]))[0])
        return Branch(end - 4, (end & ~3) + offset, links=True)
    if second & 0xFF87 == 0x4780:
        return Branch(end - 2, None, links=True)
    if second & 0xF800 == 0xE000:
        return Branch(end - 2, end + 2 + 2 * _sign(second & 0x7FF, 11), links=False)
    if second & 0xFF87 == 0x4700 and second & 0x78 != 0x70:
        return Branch(end - 2, None, links=False)
    return None


def _thumb(halves: Ints, address: int) -> Branches:
    at = address + 2 * np.arange(len(halves))
    first, second = halves[:-1], halves[1:]
    wide = first & 0xF800 == 0xF000
    far = wide & (second & 0xD000 == 0x9000)
    conditional = wide & (second & 0xD000 == 0x8000) & (first & 0x380 != 0x380)
    call = wide & (second & 0xD000 == 0xD000)
    near = halves & 0xF800 == 0xE000
    short = (halves & 0xF000 == 0xD000) & (halves & 0xE00 != 0xE00)
    offset = _thumb_offset(first, second)
    skewed = (first >> 10 & 1) << 20 | (second >> 11 & 1) << 19 | (second >> 13 & 1) << 18
    skewed = _signed(skewed | (first & 0x3F) << 12 | (second & 0x7FF) << 1, 21)
    jumps = [
        (at[:-1][far], (at[:-1] + 4 + offset)[far]),
        (at[:-1][conditional], (at[:-1] + 4 + skewed)[conditional]),
        (at[near], (at + 4 + 2 * _signed(halves & 0x7FF, 11))[near]),
        (at[short], (at + 4 + 2 * _signed(halves & 0xFF, 8))[short]),
    ]
    through = (halves & 0xFF87 == 0x4700) & (halves & 0x78 != 0x70)  # bx, but not bx lr
    through |= halves & 0xFF87 == 0x4687  # mov pc, rN
    loads_pc = (first & 0xFF70 == 0xF850) & (first & 0xF != 13) & (second >> 12 == 15)  # ldr pc, but not from the stack
    indirect = np.union1d(at[through], at[:-1][loads_pc])
    return _sorted(jumps, indirect, (at[:-1] + 4 + offset)[call], _thumb_made(first, second))


def _thumb_made(first: Ints, second: Ints) -> Ints:
    """Addresses that movw and movt put together, within eight halfwords of each other."""
    value = (first & 0xF) << 12 | (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
    register = second >> 8 & 0xF
    low, high = first & 0xFBF0 == 0xF240, first & 0xFBF0 == 0xF2C0
    found = []
    for apart in range(2, 9):
        pair = low[:-apart] & high[apart:] & (register[:-apart] == register[apart:])
        found.append((value[:-apart] | value[apart:] << 16)[pair] & ~1)
    return np.concatenate(found)


# --- RISC-V


def _jal_offset(word: Ints) -> Ints:
    whole = (word >> 31 & 1) << 20 | (word >> 12 & 0xFF) << 12 | (word >> 20 & 1) << 11 | (word >> 21 & 0x3FF) << 1
    return _signed(whole, 21)


def _c_j_offset(half: Ints) -> Ints:
    whole = (half >> 12 & 1) << 11 | (half >> 11 & 1) << 4 | (half >> 9 & 3) << 8 | (half >> 8 & 1) << 10
    whole |= (half >> 7 & 1) << 6 | (half >> 6 & 1) << 7 | (half >> 3 & 7) << 1 | (half >> 2 & 1) << 5
    return _signed(whole, 12)


def _riscv_ending(code: bytes, end: int, *, compressed_jal: bool) -> Branch | None:
    word, half = int.from_bytes(code[-4:], "little"), int.from_bytes(code[-2:], "little")
    register = word >> 7 & 0x1F
    found: list[Branch] = []
    if word & 0x7F == 0x6F and register in (0, *_LINKS):
        found.append(Branch(end - 4, end - 4 + int(_jal_offset(np.array([word]))[0]), links=register != 0))
    elif word & 0x707F == 0x67 and register in (0, *_LINKS) and (register or word >> 15 & 0x1F not in _LINKS):
        found.append(Branch(end - 4, _pair_target(code, end), links=register != 0))
    if half & 0xF07F in (0x9002, 0x8002) and half >> 7 & 0x1F and (half & 0x1000 or half >> 7 & 0x1F not in _LINKS):
        found.append(Branch(end - 2, None, links=half & 0x1000 != 0))
    elif half & 0xE003 == 0xA001 or (compressed_jal and half & 0xE003 == 0x2001):
        target = end - 2 + int(_c_j_offset(np.array([half]))[0])
        found.append(Branch(end - 2, target, links=half & 0xE003 == 0x2001))
    return found[0] if len(found) == 1 else None


def _pair_target(code: bytes, end: int) -> int | None:
    """Of a jalr: where it leads with the auipc before it; None where that is something else."""
    if len(code) < 8:
        return None
    upper, jalr = int.from_bytes(code[-8:-4], "little"), int.from_bytes(code[-4:], "little")
    if upper & 0x7F != 0x17 or upper >> 7 & 0x1F != jalr >> 15 & 0x1F:
        return None
    return end - 8 + _sign(upper & 0xFFFF_F000, 32) + _sign(jalr >> 20, 12)


def _riscv(halves: Ints, address: int, *, compressed_jal: bool) -> Branches:
    at = address + 2 * np.arange(len(halves))
    word = halves[:-1] | halves[1:] << 16
    here = at[:-1]
    rd, rs1 = word >> 7 & 0x1F, word >> 15 & 0x1F
    jal, jalr = word & 0x7F == 0x6F, word & 0x707F == 0x67
    branch = word & 0x7F == 0x63
    branch_to = (word >> 31) << 12 | (word >> 7 & 1) << 11 | (word >> 25 & 0x3F) << 5 | (word >> 8 & 0xF) << 1
    c_j, c_branch = halves & 0xE003 == 0xA001, np.isin(halves & 0xE003, (0xC001, 0xE001))
    c_to = (halves >> 12 & 1) << 8 | (halves >> 10 & 3) << 3 | (halves >> 5 & 3) << 6 | (halves >> 3 & 3) << 1
    c_to |= (halves >> 2 & 1) << 5
    paired = np.zeros(len(word), dtype=bool)
    paired[2:] = (word[:-2] & 0x7F == 0x17) & (rd[:-2] == rs1[2:])
    upper = np.zeros(len(word), dtype=np.int64)
    upper[2:] = _signed(word[:-2] & 0xFFFF_F000, 32) - 4
    pair_to = here + upper + _signed(word >> 20, 12)
    links = np.isin(rd, _LINKS)
    no_link = rd == 0
    jump_jal, jump_pair = jal & no_link, jalr & no_link & paired
    jumps = [
        (here[jump_jal], (here + _jal_offset(word))[jump_jal]),
        (here[jump_pair], pair_to[jump_pair]),
        (here[branch], (here + _signed(branch_to, 13))[branch]),
        (at[c_j], (at + _c_j_offset(halves))[c_j]),
        (at[c_branch], (at + _signed(c_to, 9))[c_branch]),
    ]
    register = halves >> 7 & 0x1F
    c_jr = (halves & 0xF07F == 0x8002) & (register != 0) & ~np.isin(register, _LINKS)
    through = jalr & no_link & ~paired & ~np.isin(rs1, _LINKS)
    called = [(here + _jal_offset(word))[jal & links], pair_to[jalr & links & paired]]
    if compressed_jal:
        c_jal = halves & 0xE003 == 0x2001
        called.append((at + _c_j_offset(halves))[c_jal])
    indirect = np.union1d(at[c_jr], here[through])
    return _sorted(jumps, indirect, np.concatenate(called), _riscv_made(word, here))


def _riscv_made(word: Ints, here: Ints) -> Ints:
    """Addresses that lui or auipc and addi put together, within eight halfwords of each other."""
    rd, rs1 = word >> 7 & 0x1F, word >> 15 & 0x1F
    opcode = word & 0x7F
    upper = _signed(word & 0xFFFF_F000, 32) + np.where(opcode == 0x17, here, 0)
    is_upper = (opcode == 0x17) | (opcode == 0x37)
    adds = np.isin(opcode, (0x13, 0x1B)) & (word >> 12 & 7 == 0)
    compressed = (word & 0xE003 == 0x0001) | (word & 0xE003 == 0x2001)
    small = _signed((word >> 12 & 1) << 5 | word >> 2 & 0x1F, 6)
    found = [upper[is_upper]]
    for apart in range(2, 9):
        lower, plain = is_upper[:-apart], adds[apart:]
        pair = lower & plain & (rd[:-apart] == rs1[apart:])
        found.append((upper[:-apart] + _signed(word[apart:] >> 20, 12))[pair])
        pair = lower & compressed[apart:] & (rd[:-apart] == rd[apart:])
        found.append((upper[:-apart] + small[apart:])[pair])
    return np.concatenate(found)


# --- CPUs of which a single branch can be read


def _aarch64_ending(code: bytes, end: int) -> Branch | None:
    word = int.from_bytes(code[-4:], "little")
    if word & 0x7C00_0000 == 0x1400_0000:  # B, BL
        return Branch(end - 4, end - 4 + 4 * _sign(word & 0x3FF_FFFF, 26), links=word >> 31 == 1)
    if word & 0xFFFF_FC1F in (0xD63F_0000, 0xD61F_0000):
        return Branch(end - 4, None, links=word & 0x20_0000 != 0)
    return None


def _x86_ending(code: bytes, end: int) -> Branch | None:
    if len(code) >= 5 and code[-5] in (0xE8, 0xE9):
        return Branch(end - 5, end + int.from_bytes(code[-4:], "little", signed=True), links=code[-5] == 0xE8)
    if code[-2] == 0xEB:
        return Branch(end - 2, end + _sign(code[-1], 8), links=False)
    return None


def _sorted(jumps: list[tuple[Ints, Ints]], indirect: Ints, called: Ints, made: Ints) -> Branches:
    at = np.concatenate([each for each, _ in jumps])
    to = np.concatenate([each for _, each in jumps])
    order = np.argsort(at, kind="stable")
    return Branches(at[order], to[order], indirect, np.unique(called), np.unique(made))


_ENDING: dict[str, Callable[[bytes, int], Branch | None]] = {
    "arm": _thumb_ending,
    "riscv32": lambda code, end: _riscv_ending(code, end, compressed_jal=True),
    "riscv64": lambda code, end: _riscv_ending(code, end, compressed_jal=False),
    "aarch64": _aarch64_ending,
    "x86": _x86_ending,
    "x86_64": _x86_ending,
}
_ALL: dict[str, Callable[[Ints, int], Branches]] = {
    "arm": _thumb,
    "riscv32": lambda halves, address: _riscv(halves, address, compressed_jal=True),
    "riscv64": lambda halves, address: _riscv(halves, address, compressed_jal=False),
}
