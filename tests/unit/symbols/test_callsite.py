"""From return address to call, by CPU: the table of rules, and calls as they stand in machine code."""

from __future__ import annotations

import pytest

from heaptrail.symbols.callsite import RULES, call_address, clean_address, ends_in_call


@pytest.mark.parametrize(
    ("arch", "returns_to", "looked_up"),
    [
        ("riscv32", 0x0800_1004, 0x0800_1002),
        ("riscv64", 0x8000_1004, 0x8000_1002),
        ("arm", 0x0800_1005, 0x0800_1002),  # the Thumb bit goes first
        ("arm", 0x0800_1004, 0x0800_1002),
        ("aarch64", 0x4_0000_1004, 0x4_0000_1000),
        ("xtensa", 0x800D_1234, 0x400D_1231),  # called by call8
        ("xtensa", 0x400D_1234, 0x400D_1231),  # called by call4
        ("x86", 0x0804_8105, 0x0804_8104),
        ("x86_64", 0x40_1005, 0x40_1004),
        ("machine 8", 0x1008, 0x1007),
    ],
)
def test_a_return_address_is_lowered_into_the_call(arch: str, returns_to: int, looked_up: int) -> None:
    assert call_address(returns_to, "return", arch) == looked_up


@pytest.mark.parametrize(
    ("arch", "call", "looked_up"),
    [("riscv32", 0x0833_6AEE, 0x0833_6AEE), ("arm", 0x0800_1003, 0x0800_1002), ("xtensa", 0x800D_1231, 0x400D_1231)],
)
def test_a_call_address_is_not_lowered(arch: str, call: int, looked_up: int) -> None:
    assert call_address(call, "call", arch) == looked_up


def test_a_functions_first_byte_is_not_lowered() -> None:
    def is_entry(address: int) -> bool:
        return address == 0x0800_2000

    assert call_address(0x0800_2001, "return", "arm", is_entry=is_entry) == 0x0800_2000
    assert call_address(0x0800_2003, "return", "arm", is_entry=is_entry) == 0x0800_2000


def test_a_functions_first_byte_right_behind_a_call_is_the_end_of_the_function_before() -> None:
    lowered = call_address(0x2000, "return", "riscv32", is_entry=lambda _: True, follows_call=lambda _: True)
    assert lowered == 0x1FFE


def test_address_zero_stays_at_zero() -> None:
    for arch in RULES:
        assert call_address(0, "return", arch, region=0) == 0


def test_xtensa_code_in_another_region_gets_that_regions_bits() -> None:
    assert clean_address(0xBB6F_8004, "xtensa", region=0x3B6F_8000) == 0x3B6F_8004


@pytest.mark.parametrize(
    ("arch", "call", "code"),
    [
        ("riscv32", "jal ra", "ef 00 40 01"),
        ("riscv32", "jalr ra, 0(a5)", "e7 80 07 00"),
        ("riscv64", "c.jalr a5", "13 05 82 97"),
        ("riscv32", "c.jal", "01 00 05 20"),
        ("riscv64", "jal t0 (millicode)", "ef 02 40 01"),
        ("arm", "bl", "00 f0 10 f8"),
        ("arm", "blx r3", "00 bf 98 47"),
        ("arm", "blx label", "00 f0 10 e8"),
        ("arm", "bl in ARM state", "10 00 00 eb"),
        ("arm", "blx r3 in ARM state", "33 ff 2f e1"),
        ("aarch64", "bl", "10 00 00 94"),
        ("aarch64", "blr x1", "20 00 3f d6"),
        ("x86_64", "call rel32", "90 90 e8 b4 fe ff ff"),
        ("x86_64", "call *%rax", "90 90 90 90 90 ff d0"),
        ("x86_64", "call *8(%rax)", "90 90 90 90 ff 50 08"),
        ("x86_64", "call *0x2fe2(%rip)", "90 ff 15 e2 2f 00 00"),
        ("x86", "call *0x804c(,%eax,4)", "ff 14 85 4c 80 00 00"),
    ],
)
def test_calls_are_recognised_by_the_bytes_before_the_return_address(arch: str, call: str, code: str) -> None:
    assert ends_in_call(bytes.fromhex(code), arch) is True, call


@pytest.mark.parametrize(
    ("arch", "other", "code"),
    [
        ("riscv32", "c.nop; c.nop", "01 00 01 00"),
        ("riscv32", "jal zero (a jump)", "6f 00 40 01"),
        ("riscv32", "ret", "01 00 82 80"),
        ("riscv64", "c.addiw, which is c.jal on RV32", "01 00 05 20"),
        ("arm", "bx lr", "00 bf 70 47"),
        ("arm", "literal zero", "00 00 00 00"),
        ("aarch64", "ret", "c0 03 5f d6"),
        ("aarch64", "b", "10 00 00 14"),
        ("x86_64", "nops", "90 90 90 90 90 90 90"),
        ("x86_64", "jmp *%rax", "90 90 90 90 90 ff e0"),
    ],
)
def test_what_is_no_call_is_not_taken_for_one(arch: str, other: str, code: str) -> None:
    assert ends_in_call(bytes.fromhex(code), arch) is False, other


def test_where_it_cannot_be_told_the_answer_is_unknown() -> None:
    assert ends_in_call(bytes(7), "xtensa") is None
    assert ends_in_call(b"\xff\xd0", "x86_64") is None
