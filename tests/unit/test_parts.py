"""Captures in parts: whatever ends the recorder, what was recorded is read again as one run."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from heaptrail.capture import CaptureHeader
from heaptrail.errors import UsageError
from heaptrail.model.observations import HeapSample
from heaptrail.parts import PartedCapture, compress, leftovers_of, parts_of
from heaptrail.reading import ReadOptions, read_logs
from heaptrail.reading.runs import recorded_s

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.evidence import Evidence

PARENT = Path(__file__).resolve().parents[1]
HEADER = CaptureHeader(dialect="tina", cycle_mark=r"round \d+ complete", run="r1", started_unix_s=1000.0)


class Ticking:
    """A clock that goes on by a second whenever it is asked."""

    def __init__(self) -> None:
        self._ticks = count()

    def monotonic(self) -> float:
        return float(next(self._ticks))

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


def free(number: int) -> str:
    return (
        f"free\r\n==> Round [1] <==\r\nTotal Heap Size :  1907128 Bytes    ( 1862 KB)\r\n"
        f"           Free : {number:8d} Bytes    ({number >> 10:5d} KB)\r\n"
        f"       Min Free :     4000 Bytes    (    3 KB)\r\n\r\n\r\nround {number} complete\r\nc906>"
    )


def record(base: Path, rounds: range, *, pieces: int = 7, part_bytes: int = 600, **options: object) -> list[Path]:
    """Rounds in small pieces, so that part boundaries fall in the middle of lines; returns what was finished."""
    finished: list[Path] = []
    first = int(str(options.pop("first_part", 1)))
    header = msgspec.structs.replace(HEADER, **options)
    writer = PartedCapture(base, header, Ticking(), finished=finished.append, first_part=first, part_bytes=part_bytes)
    for number in rounds:
        data = free(number).encode()
        for start in range(0, len(data), pieces):
            writer.output(data[start : start + pieces])
    writer.close()
    return finished


def frees(evidence: Evidence) -> list[int | None]:
    return [sample.free_bytes for sample in evidence.samples if isinstance(sample, HeapSample)]


def test_parts_are_read_as_one_run_in_any_order(tmp_path: Path) -> None:
    base = tmp_path / "soak.cast"
    for part in record(base, range(5000, 5020)):
        compress(part)

    parts = list(parts_of(base).values())
    evidence = read_logs(parts[::-1], ReadOptions())

    assert len(parts) > 10
    assert [path.name for path in parts[:2]] == ["soak.0001.cast.gz", "soak.0002.cast.gz"]
    assert parts[-1].suffix == ".cast"
    assert frees(evidence) == list(range(5000, 5020))
    assert evidence.boots == 1
    assert [sample.cycle for sample in evidence.samples] == list(range(20))
    times = [sample.t_s or 0.0 for sample in evidence.samples]
    assert times == sorted(times)
    assert times[-1] > 200, "the parts' times go on"
    assert evidence.problems == ()
    assert len(evidence.captures) == len(parts)


def test_a_part_that_stands_there_twice_is_read_once(tmp_path: Path) -> None:
    """The recorder was killed between compressing a part and removing it."""
    base = tmp_path / "soak.cast"
    finished = record(base, range(5000, 5006))
    plain = finished[0].read_bytes()
    compress(finished[0])
    finished[0].write_bytes(plain)

    every = sorted(tmp_path.iterdir())
    assert frees(read_logs(every, ReadOptions())) == list(range(5000, 5006))
    assert parts_of(base)[1].suffix == ".gz"


def test_a_half_compressed_part_never_counts(tmp_path: Path) -> None:
    base = tmp_path / "soak.cast"
    finished = record(base, range(5000, 5006))
    (tmp_path / f"{finished[0].name}.gz.tmp").write_bytes(gzip.compress(b"half")[:10])

    assert parts_of(base)[1] == finished[0]
    assert leftovers_of(base)[: len(finished)] == tuple(finished)
    assert compress(finished[0]).suffix == ".gz"
    assert frees(read_logs(list(parts_of(base).values()), ReadOptions())) == list(range(5000, 5006))


def test_a_missing_part_divides_the_run_and_is_told(tmp_path: Path) -> None:
    base = tmp_path / "soak.cast"
    record(base, range(5000, 5020), part_bytes=4000)
    parts = parts_of(base)
    parts.pop(2)

    evidence = read_logs(list(parts.values()), ReadOptions())

    assert evidence.boots == 2
    (problem,) = [problem for problem in evidence.problems if problem.what == "missing_part"]
    assert problem.text.startswith("soak.0003.cast: part 2 of this run was not given")


def test_a_resumed_run_starts_a_line_of_its_own(tmp_path: Path) -> None:
    """The recorder was killed in the middle of a figure; the rest of the figure must not come from elsewhere."""
    base = tmp_path / "soak.cast"
    record(base, range(5000, 5002), part_bytes=1 << 20)
    first = parts_of(base)[1]
    lines = first.read_text().splitlines()
    cut = next(i for i, line in enumerate(lines) if "Free" in line or "Fre" in line)
    first.write_text("\n".join(lines[: cut + 1]) + '\n[99.0, "o", " : 54')
    record(base, range(6000, 6002), part_bytes=1 << 20, first_part=2, resumed=True)

    evidence = read_logs(list(parts_of(base).values()), ReadOptions())

    assert frees(evidence) == [6000, 6001]
    assert [problem.what for problem in evidence.problems if problem.what == "cut_capture"] == ["cut_capture"]
    assert recorded_s(list(parts_of(base).values())).run == "r1"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    base = tmp_path / "soak.cast"
    record(base, range(5000, 5002))

    with pytest.raises(UsageError, match="never overwritten"):
        record(base, range(5000, 5002))


def test_a_full_disk_stops_clearly_and_leaves_a_capture_that_reads(tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk's; it holds in a child process only."""
    program = f"""
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {str(PARENT)!r})
from unit.test_parts import record
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
record(Path({str(tmp_path / "soak.cast")!r}), range(5000, 5100), part_bytes=1 << 20)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert "the disk is full" in done.stderr
    evidence = read_logs(list(parts_of(tmp_path / "soak.cast").values()), ReadOptions())
    assert (tmp_path / "soak.0001.cast").stat().st_size <= 5000
    assert len(evidence.samples) >= 5
    assert {problem.what for problem in evidence.problems} <= {"torn_record"}, "the last table ends where the disk did"


def test_a_part_that_finds_no_room_to_be_compressed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = record(tmp_path / "soak.cast", range(5000, 5006))[0]
    content = part.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("heaptrail.parts.os.fsync", full)

    assert compress(part) == part
    assert part.read_bytes() == content
    assert not list(tmp_path.glob("*.gz*"))


# --- compressed logs ---


def zst(data: bytes) -> bytes:
    """As the command `zstd` packs: with a checksum."""
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


def log_text() -> bytes:
    return "".join(free(number) for number in range(5000, 5050)).encode()


def test_a_compressed_log_says_what_the_log_says(tmp_path: Path) -> None:
    text = log_text()
    plain, packed, pieces = tmp_path / "a.log", tmp_path / "a.log.gz", tmp_path / "b.log.gz"
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text))
    pieces.write_bytes(gzip.compress(text[:3000]) + bytes(512) + gzip.compress(text[3000:]))

    expected = frees(read_logs([plain], ReadOptions()))
    assert len(expected) == 50
    assert frees(read_logs([packed], ReadOptions())) == expected
    assert frees(read_logs([pieces], ReadOptions())) == expected, "several members, padded as tapes are"


def test_a_log_packed_with_zstd_says_what_the_log_says(tmp_path: Path) -> None:
    text = log_text()
    plain, packed, pieces = tmp_path / "a.log", tmp_path / "a.log.zst", tmp_path / "b.log.zst"
    plain.write_bytes(text)
    packed.write_bytes(zst(text))
    pieces.write_bytes(zst(text[:3000]) + zst(text[3000:]))

    expected = frees(read_logs([plain], ReadOptions()))
    assert frees(read_logs([packed], ReadOptions())) == expected
    assert frees(read_logs([pieces], ReadOptions())) == expected


@pytest.mark.parametrize("pack", [gzip.compress, zst])
@pytest.mark.parametrize("keep", [0.2, 0.7, 0.999])
def test_a_compressed_log_that_is_cut_is_read_as_far_as_it_goes(
    tmp_path: Path, keep: float, pack: Callable[[bytes], bytes]
) -> None:
    noise = "".join(f"[wifi] beacon {number * number % 1_000_003}\n" for number in range(40_000)).encode()
    packed = pack(log_text() + noise)
    path = tmp_path / "a.log.packed"
    path.write_bytes(packed[: int(len(packed) * keep)])

    evidence = read_logs([path], ReadOptions())

    assert len(evidence.samples) >= 25
    assert [p.what for p in evidence.problems if p.what != "cut_line"] == ["cut_capture"]
    assert "ends before its content does" in next(p.text for p in evidence.problems if p.what == "cut_capture")


@pytest.mark.parametrize("pack", [gzip.compress, zst])
def test_a_damaged_compressed_log_is_told(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = bytearray(pack(log_text()))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / "a.log.gz"
    path.write_bytes(bytes(packed))

    evidence = read_logs([path], ReadOptions())

    assert any(p.what == "cut_capture" and "damaged" in p.text for p in evidence.problems)


@pytest.mark.parametrize("pack", [gzip.compress, zst])
def test_what_expands_without_end_is_read_in_bounded_memory(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "bomb.log"
    path.write_bytes(pack(bytes(64 << 20)))
    program = f"""
import resource
from pathlib import Path
from heaptrail.reading import ReadOptions, read_logs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read_logs([Path({str(path)!r})], ReadOptions())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert int(done.stdout) < 40, "MB more than before"


def test_each_part_is_a_capture_of_its_own(tmp_path: Path) -> None:
    base = tmp_path / "soak.cast"
    record(base, range(5000, 5010), part_bytes=2000)

    for number, path in parts_of(base).items():
        first, *events = path.read_text().splitlines()
        own = json.loads(first)["heaptrail"]
        assert (own["run"], own["part"]) == ("r1", number)
        assert json.loads(events[0])[0] < 10, "players expect times from the file's own start"
