"""From the address in a backtrace to the address of the call, by CPU.

A backtrace holds return addresses: where the code goes on after the call. The line there is often the next
statement's, and for a call that never returns it is the next function's. On two firmwares (GCC 12, -O2) looking up the
return address instead of the call gave another line for 46-49 % of all call sites, another inline chain for 7-8 %, and
another function for 1-2 in 500. So the address is lowered into the call instruction. Any byte of the instruction will
do, since line tables cover all of them: the smallest distance that is sure to land inside is enough.

Three exceptions:

- The address of a call (`kind` is `call`) is looked up as it is.
- A return address that is the first byte of a function was put there by hand, as the kernel does for the end of a
  task's chain. Lowered, it would name the function that happens to lie before. It stays, unless a call stands right
  before it: then it is a call that never returns, at the end of the function before.
- Bits that are no address are cleared first: bit 0 on ARM says Thumb, and the two top bits of an Xtensa windowed
  return address hold the size of the caller's window, so the region's bits are put back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.observations import FrameKind

XTENSA_CODE_REGION = 0x4000_0000
"""Where every ESP32's code lies; used when the image cannot tell."""

_WINDOW_BITS = 0xC000_0000
_X86_LENGTHS = (1, 2, 3, 4, 5, 6, 7)


class CallRule(msgspec.Struct, frozen=True, kw_only=True):
    """One CPU's rule.

    Args:
        lower_by: Bytes from the return address down to a byte that is sure to be the call's.
        ends_after: Where the call may end, in bytes from the address that a tracer gives as the call's: its length, or
            1 where a tracer gives its last byte.
        thumb: Bit 0 is the instruction set, not the address.
        windowed: The two top bits are the window size.
        why: The reason, for people.
    """

    lower_by: int
    ends_after: tuple[int, ...]
    thumb: bool = False
    windowed: bool = False
    why: str


RULES: dict[str, CallRule] = {
    "riscv32": CallRule(lower_by=2, ends_after=(2, 4), why="c.jal and c.jalr have 2 bytes, jal and jalr 4"),
    "riscv64": CallRule(lower_by=2, ends_after=(2, 4), why="c.jalr has 2 bytes, jal and jalr 4"),
    "arm": CallRule(lower_by=2, ends_after=(2, 4), thumb=True, why="Thumb blx has 2 bytes, Thumb bl and ARM's calls 4"),
    "aarch64": CallRule(lower_by=4, ends_after=(4,), why="every instruction has 4 bytes"),
    "xtensa": CallRule(lower_by=3, ends_after=(3,), windowed=True, why="call0 to callx12 have 3 bytes"),
    "x86": CallRule(lower_by=1, ends_after=_X86_LENGTHS, why="calls have 2 to 7 bytes"),
    "x86_64": CallRule(lower_by=1, ends_after=_X86_LENGTHS, why="calls have 2 to 7 bytes"),
}
OTHER = CallRule(
    lower_by=1, ends_after=(), why="the last byte before the return address belongs to the call or to its delay slot"
)


def clean_address(pc: int, arch: str, *, region: int = XTENSA_CODE_REGION) -> int:
    """`pc` without the bits that are no address.

    Args:
        pc: As printed.
        arch: As in `RULES`.
        region: The two top bits of the image's code addresses (Xtensa only).
    """
    rule = RULES.get(arch, OTHER)
    if rule.thumb:
        return pc & ~1
    if rule.windowed:
        return (pc & ~_WINDOW_BITS & 0xFFFF_FFFF) | (region & _WINDOW_BITS)
    return pc


def call_address(
    pc: int,
    kind: FrameKind,
    arch: str,
    *,
    is_entry: Callable[[int], bool] = lambda _: False,
    follows_call: Callable[[int], bool] = lambda _: False,
    region: int = XTENSA_CODE_REGION,
) -> int:
    """The address to look up for one frame.

    Args:
        pc: As printed.
        kind: Whether that is the address of the call or the one it returns to.
        arch: As in `RULES`; an unknown word gets the rule `OTHER`.
        is_entry: Whether a function starts at an address.
        follows_call: Whether a call instruction ends right before an address; asked only for entries.
        region: See `clean_address`.
    """
    address = clean_address(pc, arch, region=region)
    if kind == "call" or (is_entry(address) and not follows_call(address)):
        return address
    return max(address - RULES.get(arch, OTHER).lower_by, 0)


def ends_in_call(code: bytes, arch: str) -> bool | None:
    """Whether little-endian `code` ends with a call instruction; None where that cannot be told by simple means.

    Args:
        code: The bytes up to a return address; 7 are enough, fewer than 4 tell nothing.
        arch: As in `RULES`.
    """
    check = _ENDS_IN_CALL.get(arch)
    return None if check is None or len(code) < 4 else check(code)


def _riscv(code: bytes) -> bool:
    word = int.from_bytes(code[-4:], "little")
    link = (word >> 7) & 0x1F in (1, 5)  # ra, or t0 of millicode calls
    jal = word & 0x7F == 0x6F
    jalr = word & 0x707F == 0x67
    half = word >> 16
    c_jalr = half & 0xF07F == 0x9002 and half & 0xF80 != 0
    return (link and (jal or jalr)) or c_jalr


def _riscv32(code: bytes) -> bool:
    c_jal = int.from_bytes(code[-2:], "little") & 0xE003 == 0x2001  # RV32 only; c.addiw on RV64
    return c_jal or _riscv(code)


def _arm(code: bytes) -> bool:
    first, second = int.from_bytes(code[-4:-2], "little"), int.from_bytes(code[-2:], "little")
    thumb_bl = first & 0xF800 == 0xF000 and second & 0xD000 in (0xD000, 0xC000)
    thumb_blx = second & 0xFF87 == 0x4780
    word = second << 16 | first
    arm_bl = word & 0x0F00_0000 == 0x0B00_0000
    arm_blx = word & 0x0FFF_FFF0 == 0x012F_FF30 or word & 0xFE00_0000 == 0xFA00_0000
    return thumb_bl or thumb_blx or arm_bl or arm_blx


def _aarch64(code: bytes) -> bool:
    word = int.from_bytes(code[-4:], "little")
    return word & 0xFC00_0000 == 0x9400_0000 or word & 0xFFFF_FC1F == 0xD63F_0000


def _x86(code: bytes) -> bool:
    if len(code) >= 5 and code[-5] == 0xE8:
        return True
    # ff /2 with every length of its operand: the byte after ff has 2 in its middle field.
    return any(
        len(code) >= length and code[-length] == 0xFF and code[1 - length] >> 3 & 7 == 2 for length in (2, 3, 4, 6, 7)
    )


_ENDS_IN_CALL: dict[str, Callable[[bytes], bool]] = {
    "riscv32": _riscv32,
    "riscv64": _riscv,
    "arm": _arm,
    "aarch64": _aarch64,
    "x86": _x86,
    "x86_64": _x86,
}
