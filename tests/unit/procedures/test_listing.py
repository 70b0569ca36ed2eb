"""How long a listing will take, told before it is asked for."""

from __future__ import annotations

import pytest

from heaptrail.procedures.listing import bytes_per_second, listing_of, told
from heaptrail.procedures.workload import Target

SITES = """\
    heaptrail: begin sites text=1 agent=0.1.0 build=none depth=16 pool=3/1024 stacks=2/256 filters=0 state=on
    site 002: live = 2, bytes = 7680, allocs = 2, frees = 0, failed = 0, unrecorded = 0, first = 1, last = 3, oldest = 0
        at 0x08336AEE
        at 0x08396D52
    site 003: live = 1, bytes = 24, allocs = 2, frees = 1, failed = 0, unrecorded = 0, first = 2, last = 4, oldest = 0
        at 0x08336AEE
        at 0x08001000
        at 0x08002000
"""
END = (
    "    heaptrail: end sites items=2 bytes=7704 unrecorded=0 other=0 failed=0 missed=0 double=0 null=0 lines=8 "
    "sum=12345678"
)
SERIAL = Target(console="/dev/ttyUSB0")


def test_the_blocks_of_all_sites_are_counted_with_the_bytes_that_each_layout_takes() -> None:
    listing = listing_of([*SITES.splitlines(), END])

    assert listing is not None
    assert (listing.blocks, listing.case_bytes, listing.compact_bytes) == (3, 3 * 70 + 7 * 32, 3 * 44 + 2 * 12 + 5 * 9)


@pytest.mark.parametrize(
    "answer", [[], SITES.splitlines(), ["memleak: unknown"], [END]], ids=["no", "cut", "other", "end"]
)
def test_what_is_no_whole_answer_tells_nothing(answer: list[str]) -> None:
    assert listing_of(answer) is None


def test_a_serial_line_is_told_its_time_and_another_is_not() -> None:
    assert told(16_000, 9_000_000, SERIAL) == (
        "listing 16,000 live blocks, about 9,000,000 B: 781 s at 115,200 baud",
        781.25,
    )
    assert told(1, 300, Target(console="exec:./player")) == ("listing 1 live block", None)
    assert bytes_per_second(Target(console="rfc2217://rack:4000", baud=921_600)) == 92_160
    assert bytes_per_second(Target(console="socket://rack:4000")) is None
