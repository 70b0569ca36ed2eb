"""Core dumps of ESP-IDF and Zephyr, whole, damaged and cut; and images of another build."""

from __future__ import annotations

import base64
import hashlib
import random
import struct
import zlib
from typing import TYPE_CHECKING

import msgspec
import pytest

from heaptrail.errors import EvidenceError, FormatError, HeaptrailError
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.ram.corewriter import write_core
from heaptrail.ram.images import read_image
from heaptrail.ram.memory import Registers
from heaptrail.ram.reach import UNREACHABLE
from heaptrail.ram.survey import Question, survey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Board, Heap4Writer

    from heaptrail.ram.images import Image

    MakeBoard = Callable[..., Board]
    MakeHeap = Callable[..., Heap4Writer]


OLD_FORMAT = base64.b64encode(struct.pack("<II", 64, 2) + bytes(64))


class Target:
    """A board with a held block and a lost one, and the ways in which its firmware could dump it."""

    def __init__(self, board: Board, heap: Heap4Writer) -> None:
        self.board = board
        self.held, self.lost = heap.alloc(24), heap.alloc(24)
        heap.finish()
        self.firmware = board.firmware()
        self.image = board.image(registers=(Registers("CPU 0", (1, 2, self.held), 0x2000_6000),))

    def core(self, *, sha256: str | None = None) -> bytes:
        """An ELF core, with ESP-IDF's note on the program where that is given."""
        path = self.board.folder / "plain.core"
        write_core(path, self.image, self.firmware)
        data = path.read_bytes()
        if sha256 is None:
            return data
        body = struct.pack("<I", 0x104) + sha256.encode().ljust(66, b"\0") + bytes(2)
        note = struct.pack("<III", 19, len(body), 8266) + b"ESP_CORE_DUMP_INFO".ljust(20, b"\0") + body
        at, size = struct.unpack_from("<I", data, 52 + 4)[0], struct.unpack_from("<I", data, 52 + 16)[0]
        edited = bytearray(data)
        struct.pack_into("<I", edited, 52 + 16, size + len(note))  # the first program header is that of the notes
        struct.pack_into("<I", edited, 52 + 32 + 4, at + size + len(note))  # the second that of the memory
        return bytes(edited[: at + size]) + note + bytes(edited[at + size :])

    def zephyr(self, *, checksum: bool = True, target: int = 3) -> bytes:
        registers = struct.pack("<9I", self.held, 0, 0, 0, 0, 0, 0, 0, 0x2000_6000)
        data = b"ZE" + struct.pack("<HHBBI", 2, target, 5, 1, 4)
        data += b"A" + struct.pack("<HH", 1, len(registers)) + registers
        data += b"T" + struct.pack("<HH", 1, 4) + bytes(4)
        ram = bytes(self.board.ram)
        for first, end in ((0x2000_0100, 0x2000_0200), (0x2000_0000, 0x2000_0000 + len(ram))):
            data += b"M" + struct.pack("<HII", 1, first, end) + ram[first - 0x2000_0000 : end - 0x2000_0000]
        return data + (b"C" + struct.pack("<HI", 1, zlib.crc32(data)) if checksum else b"")

    def read(self, data: bytes, name: str = "dump.bin") -> Image:
        path = self.board.folder / name
        path.write_bytes(data)
        return read_image(str(path), self.firmware, DEFAULT_LIMITS)

    def check(self, image: Image) -> None:
        found = survey(image, self.firmware, Question())
        assert [found.heap.live[index].address for index in found.with_state(UNREACHABLE)] == [self.lost]
        assert image.registers[0].stack_pointer == 0x2000_6000


def esp(core: bytes, version: int = 0x104) -> bytes:
    """ESP-IDF's envelope around an ELF core."""
    head_bytes = {0x100: 20, 0x101: 20, 0x102: 24, 0x103: 24, 0x104: 12}[version]
    sha256 = version in (0x101, 0x103, 0x104)
    length = head_bytes + len(core) + (32 if sha256 else 4)
    content = struct.pack("<II", length, version | 5 << 16).ljust(head_bytes, b"\0") + core
    return content + (hashlib.sha256(content).digest() if sha256 else struct.pack("<I", zlib.crc32(content)))


@pytest.fixture
def target(make_board: MakeBoard, make_heap: MakeHeap) -> Target:
    board = make_board()
    return Target(board, make_heap(board, 0x400))


@pytest.mark.parametrize("version", [0x100, 0x101, 0x102, 0x103, 0x104])
def test_esp_idfs_dump_from_flash_is_read(target: Target, version: int) -> None:
    image = target.read(esp(target.core(), version) + bytes(100))  # the partition is larger

    target.check(image)
    assert image.kind == "esp"


def test_esp_idfs_dump_from_a_console_is_read(target: Target) -> None:
    data = esp(target.core())
    lines = [base64.b64encode(data[at : at + 48]) for at in range(0, len(data), 48)]
    log = (
        b"boot\r\n======= CORE DUMP START =======\r\n"
        + b"\r\n".join(lines)
        + b"\r\n===== CORE DUMP END =====\r\nrebooting"
    )

    target.check(target.read(log))


def test_the_programs_checksum_in_the_dump_must_be_the_elfs(target: Target) -> None:
    digest = hashlib.sha256(target.firmware.path.read_bytes()).hexdigest()
    same, other = target.read(target.core(sha256=digest[:16])), target.read(target.core(sha256="0123456789abcdef"))

    target.check(same)
    assert same.program_sha256 == digest[:16]
    with pytest.raises(EvidenceError, match="SHA-256 0123456789ab") as refused:
        survey(other, target.firmware, Question())
    assert "--allow-mismatch" in refused.value.try_this
    allowed = survey(other, target.firmware, Question(allow_mismatch=True))
    assert "elf_mismatch" in {what for what, _ in allowed.problems}


def test_zephyrs_dump_is_read_though_its_parts_overlap(target: Target) -> None:
    image = target.read(target.zephyr())

    target.check(image)
    assert image.kind == "zephyr"


def test_zephyrs_dump_is_read_from_a_log(target: Target) -> None:
    data = target.zephyr(checksum=False)
    lines = [b"E: #CD:" + data[at : at + 32].hex().encode() for at in range(0, len(data), 32)]
    log = b"I: booting\r\nE: #CD:BEGIN#\r\n" + b"\r\nnoise between\r\n".join(lines) + b"\r\nE: #CD:END#\r\nlater"

    target.check(target.read(log))


def test_damage_on_the_way_is_noticed(target: Target) -> None:
    for data in (target.zephyr(), esp(target.core()), esp(target.core(), 0x100)):
        damaged = bytearray(data)
        damaged[len(data) // 2] ^= 1
        with pytest.raises(FormatError, match="checksum is wrong"):
            target.read(bytes(damaged))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_dump_cut_short_says_so(target: Target, share: float) -> None:
    for data in (target.zephyr(), esp(target.core())):
        with pytest.raises(HeaptrailError) as refused:
            target.read(data[: int(len(data) * share)])
        assert "cut off" in refused.value.sentence


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"#CD:BEGIN#\n#CD:5a45\n", "#CD:END# is missing"),
        (b"#CD:BEGIN#\n#CD:ERROR CANNOT DUMP#\n#CD:END#\n", "the target could not dump"),
        (b"#CD:BEGIN#\n#CD:5a4\n#CD:END#\n", "odd number of digits"),
        (b"#CD:BEGIN#\n#CD:5a45ff\n#CD:END#\n", "no head of one"),
        (b"ZE" + struct.pack("<HHBBI", 2, 3, 5, 0, 4) + b"Q", "a block of kind b'Q'"),
        (b"ZE" + struct.pack("<HHBBI", 2, 3, 5, 0, 4), "holds no memory"),
        (b"ZE" + struct.pack("<HHBBI", 2, 3, 5, 0, 4) + b"M" + struct.pack("<HII", 1, 9, 1), "a block was expected"),
        (b"== CORE DUMP START ==\nAAAA\n", "CORE DUMP END is missing"),
        (b"== CORE DUMP START ==\nAAAA\n== CORE DUMP END ==\n", "cut off"),
        (b"== CORE DUMP START ==\n" + OLD_FORMAT + b"\n== CORE DUMP END ==", "holds no heap"),
    ],
)
def test_each_broken_dump_says_what_is_wrong(target: Target, data: bytes, match: str) -> None:
    with pytest.raises(FormatError, match=match):
        target.read(data)


def test_a_dump_of_another_kind_of_cpu_is_refused(target: Target) -> None:
    data = b"ZE" + struct.pack("<HHBBI", 2, 6, 6, 0, 4) + target.zephyr()[12:]

    with pytest.raises(EvidenceError, match="64-bit CPU"):
        target.read(data)


@pytest.mark.parametrize("seed", range(10))
def test_noise_behind_a_head_ends_with_a_sentence(target: Target, seed: int) -> None:
    noise = random.Random(seed).randbytes(4000)
    for head in (target.zephyr()[:12], target.zephyr()[:60], esp(target.core())[:64]):
        with pytest.raises(HeaptrailError):
            target.read(head + noise)


def test_another_builds_id_in_the_image_is_refused(target: Target) -> None:
    """The note with the build id lies in memory wherever the linker script keeps it."""
    note = struct.pack("<III", 4, 20, 3) + b"GNU\0" + bytes(range(20))
    firmware, memory = target.firmware, target.image.memory
    firmware.image.build_id = "ff" * 20
    other = struct.pack("<III", 4, 20, 5) + b"GNU\0" + bytes(20)  # what the linker says of the program's properties
    first = 0x0800_4000 + len(other)
    firmware.notes = [(0x0800_4000, first), (first, first + len(note))]
    note = other + note
    with_note = type(memory)(
        [*memory.pieces, memory.pieces[0]._replace(address=0x0800_4000, data=memoryview(note))], order="<", word_bytes=4
    )
    image = msgspec.structs.replace(target.image, memory=with_note)

    with pytest.raises(EvidenceError, match=r"of the build 000102030405….* ffffffffffff…"):
        survey(image, firmware, Question())
    firmware.image.build_id = bytes(range(20)).hex()
    target.check(image)


def test_a_raw_image_that_looks_like_a_head_by_chance_stays_raw(target: Target, tmp_path: Path) -> None:
    board = target.board
    board.poke(0x2000_0000, 0x4000, 0x0005_0104)
    path = tmp_path / "ram.bin"
    path.write_bytes(bytes(board.ram))

    assert read_image(f"{path}@0x20000000", target.firmware, DEFAULT_LIMITS).kind == "raw"
