"""Reading whole logs: the case, boots, cycles, captures, damage, size."""

from __future__ import annotations

import gzip
import io
import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import heap_tables, line_prefixes, memleak_records, noise_lines, print_listing

from heaptrail.dialects.nuttx import Nuttx
from heaptrail.dialects.tina import Tina
from heaptrail.errors import FormatError, UsageError
from heaptrail.limits import Limits
from heaptrail.model.evidence import Evidence
from heaptrail.model.observations import AnyObservation, Block, Dump, HeapSample, Mark, Problem
from heaptrail.reading import ReadOptions, observe, read_logs, sources
from heaptrail.reading.sources import Chunk
from heaptrail.reading.stamps import Prefixes, strip_prefixes

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "dialects"
FREE = """\
c906>free
==> Round [1] <==
Total Heap Size :  1907128 Bytes    ( 1862 KB)
           Free : {free:8d} Bytes    ({free_kib:5d} KB)
       Min Free : {low:8d} Bytes    ({low_kib:5d} KB)
"""


def free(free_bytes: int, low: int | None = None) -> str:
    low = free_bytes if low is None else low
    return FREE.format(free=free_bytes, free_kib=free_bytes >> 10, low=low, low_kib=low >> 10)


def record(number: int = 1, *, pc: int = 0x08336AEE) -> str:
    return (
        f"    {number:03d}: ptr = 0x08760960, size = 0x00000f00, thread = AudioRender\n        backtrace : 0x{pc:08X}\n"
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "console.log"


def read(log: Path, text: str | bytes, **options: object) -> Evidence:
    log.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_logs([log], ReadOptions(**options))  # type: ignore[arg-type]


def words(evidence: Evidence) -> list[str]:
    return [problem.what for problem in evidence.problems]


def cast(path: Path, events: list[tuple[float, str, str]], **header: object) -> Path:
    lines = [json.dumps({"version": 2, "width": 80, "height": 24, "heaptrail": {"version": "0.1.0", **header}})]
    path.write_text("\n".join([*lines, *(json.dumps(event) for event in events)]) + "\n")
    return path


# --- Boots ---


def test_a_rising_minimum_is_a_reset_that_nobody_saw(log: Path) -> None:
    evidence = read(log, free(5000) + free(4000) + free(6000))

    assert [sample.boot for sample in evidence.samples] == [1, 1, 2]
    assert evidence.boots == 2
    assert words(evidence) == ["unexpected_reset"]


def test_a_falling_minimum_is_one_boot(log: Path) -> None:
    evidence = read(log, free(5000) + free(5500, low=4800) + free(6000, low=4800))

    assert evidence.boots == 1
    assert not evidence.problems


@pytest.mark.parametrize(
    "banner",
    [
        "ESP-ROM:esp32c3-api1-20210207\nrst:0x1 (POWERON),boot:0xd (SPI_FAST_FLASH_BOOT)",
        "*** Booting Zephyr OS build v3.6.0 ***",
        "NuttShell (NSH) NuttX-12.4.0",
        " \\ | /\n- RT -     Thread Operating System\n / | \\     5.0.2 build Jan 2 2026",
        "U-Boot SPL 2023.04 (May 01 2023)\nU-Boot 2023.04 (May 01 2023)",
        "HELLO! BOOT0 is starting Dec 12 2020",
        "*** rtplayer boot ***",
    ],
)
def test_a_banner_begins_a_boot_once(log: Path, banner: str) -> None:
    evidence = read(log, f"{banner}\n{free(5000)}{banner}\n{free(5000)}")

    assert [sample.boot for sample in evidence.samples] == [1, 2]
    assert [(mark.what, mark.boot) for mark in evidence.marks] == [("boot", 1), ("boot", 2)]
    assert not evidence.problems, "a reset that says so is no surprise"


def test_the_same_banner_twice_is_two_boots_even_when_nothing_was_read_between(log: Path) -> None:
    evidence = read(log, free(5000) + "U-Boot 2023.04 (x)\n" * 3 + free(5000))

    assert evidence.boots == 4


def test_the_device_clock_going_back_is_a_reset(log: Path) -> None:
    lines = [f"[  {seconds}] {line}\n" for seconds in ("900.100", "0.500") for line in free(5000).splitlines()]

    evidence = read(log, "".join(lines))

    assert [sample.boot for sample in evidence.samples] == [1, 2]
    assert words(evidence) == ["unexpected_reset"]


def test_two_cores_with_clocks_some_seconds_apart_are_one_boot(log: Path) -> None:
    lines = [f"[  {900 + i * 0.1 - i % 2 * 5:.3f}] {line}\n" for i in range(6) for line in free(5000).splitlines()]

    assert read(log, "".join(lines)).boots == 1


def test_the_user_names_the_line_that_begins_a_boot(log: Path) -> None:
    evidence = read(log, free(5000) + "app: hello v1.2\n" + free(5000), boot_mark=r"hello v\d")

    assert [sample.boot for sample in evidence.samples] == [1, 2]


def test_a_reset_in_the_middle_of_a_record_ends_the_dump_without_calling_it_whole(log: Path) -> None:
    evidence = read(log, free(5000) + "c906>memleak 1\n" + record(1) + "*** rtplayer boot ***\n" + free(5000))

    (live,) = evidence.dumps
    assert live.dump.boot == 1
    assert live.dump.complete is None
    assert [sample.tracer for sample in evidence.samples] == [None, None]


def test_each_log_begins_a_boot(tmp_path: Path) -> None:
    paths = [tmp_path / "a.log", tmp_path / "b.log"]
    for path in paths:
        path.write_text(free(5000))

    evidence = read_logs(paths, ReadOptions())

    assert [sample.boot for sample in evidence.samples] == [1, 2]
    assert [capture.name for capture in evidence.captures] == ["a.log", "b.log"]


# --- Cycles ---


def test_cycles_are_counted_from_the_firmwares_own_line(log: Path) -> None:
    text = free(5000) + "round 1 done\n" + free(4900) + "round 2 done\n" + free(4800)

    evidence = read(log, text, cycle_mark=r"^round \d+ done$")

    assert [sample.cycle for sample in evidence.samples] == [0, 1, 2]
    assert [mark.cycle for mark in evidence.marks] == [1, 2]
    assert evidence.cycles_from == "marks"


def test_cycles_start_again_after_a_reset(log: Path) -> None:
    text = free(5000) + "round done\n" * 3 + free(4900) + "*** rtplayer boot ***\n" + free(5000)

    evidence = read(log, text, cycle_mark="round done")

    assert [(sample.boot, sample.cycle) for sample in evidence.samples] == [(1, 0), (1, 3), (2, 0)]


def test_without_a_cycle_mark_no_cycle_is_known(log: Path) -> None:
    evidence = read(log, free(5000) + "round done\n" + free(4900))

    assert [sample.cycle for sample in evidence.samples] == [None, None]
    assert evidence.cycles_from is None


def test_a_cycle_mark_that_no_line_matches_is_said_and_counts_nothing(log: Path) -> None:
    evidence = read(log, free(5000) + record(), cycle_mark="lap done")

    assert evidence.samples[0].cycle is None
    assert evidence.dumps[0].blocks[0].cycle is None
    assert "missing_marks" in words(evidence)


@pytest.mark.parametrize(
    "mark", ["round", "(?i)ROUND \\d", "r.und|lap", "[r]", "round\\s+\\d+ done", "(round )(done)?"]
)
def test_a_cycle_mark_may_be_any_regular_expression(log: Path, mark: str) -> None:
    evidence = read(log, "xyz\nround 1 done\nabc\n", cycle_mark=mark)

    assert [line.line for line in evidence.marks] == [2]


# --- Captures ---


def test_a_capture_gives_times_and_cycles(tmp_path: Path) -> None:
    first, second = free(5000), free(4900)
    path = cast(
        tmp_path / "run.cast",
        [(1.0, "o", first[:50]), (1.5, "o", first[50:]), (2.0, "m", "cycle"), (3.0, "o", second), (4.0, "m", "cycle")],
    )

    evidence = read_logs([path], ReadOptions())

    assert [(sample.t_s, sample.cycle) for sample in evidence.samples] == [(1.0, 0), (3.0, 1)]
    assert evidence.captures[0].format == "cast"
    assert evidence.cycles_from == "marks"


def test_a_line_split_over_events_has_the_time_of_its_first_byte(tmp_path: Path) -> None:
    text = free(5000)
    at = text.index("Total") + 5
    path = cast(tmp_path / "run.cast", [(1.0, "o", text[:at]), (9.0, "o", text[at:])])

    assert read_logs([path], ReadOptions()).samples[0].t_s == 1.0


def test_markers_tell_when_the_tracer_was_armed_and_whether_the_workload_ran(tmp_path: Path) -> None:
    path = cast(
        tmp_path / "run.cast",
        [
            (1, "m", "step: workload start"),
            (2, "m", "cycle"),
            (3, "m", "step: tracer on"),
            (4, "m", "cycle"),
            (5, "o", "c906>memleak show\r\n" + record(1).replace("\n", "\r\n") + "c906>"),
            (6, "m", "step: workload stop"),
            (7, "o", "memleak 0\r\n" + record(1).replace("\n", "\r\n") + "c906>"),
        ],
    )

    evidence = read_logs([path], ReadOptions())

    assert [(live.armed_cycle, live.workload) for live in evidence.dumps] == [(1, "running"), (1, "stopped")]
    assert [live.dump.cycle for live in evidence.dumps] == [2, 2]


def test_the_captures_own_terms_hold_until_the_user_gives_others(tmp_path: Path) -> None:
    events = [(1.0, "o", "lap\nround\nround\n"), (2.0, "m", "cycle")]
    path = cast(tmp_path / "run.cast", events, cycle_mark="round", dialect="tina", warmup_cycles=3)

    own = read_logs([path], ReadOptions())
    users = read_logs([path], ReadOptions(cycle_mark="lap"))

    assert [mark.line for mark in own.marks] == [2, 3], "with a pattern, cycle markers count for nothing"
    assert [mark.line for mark in users.marks] == [1]
    assert own.captures[0].settings is not None
    assert own.captures[0].settings.warmup_cycles == 3


def test_a_capture_cut_anywhere_is_read_up_to_there(tmp_path: Path) -> None:
    path = cast(tmp_path / "run.cast", [(1.0, "o", free(5000)), (2.0, "m", "cycle"), (3.0, "o", free(4000))])
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    for cut in range(header, len(whole), 7):
        path.write_bytes(whole[:cut])

        evidence = read_logs([path], ReadOptions())

        assert {sample.free_bytes for sample in evidence.samples} <= {5000, 4000}
        if whole[cut - 1 : cut] != b"\n":
            assert "cut_capture" in words(evidence)


# --- Damage and limits ---


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_say_nothing(log: Path, seed: int) -> None:
    evidence = read(log, random.Random(seed).randbytes(400_000))

    assert not evidence.samples
    assert not evidence.dumps
    assert evidence.boots == 1


def test_an_empty_log_is_no_evidence(log: Path) -> None:
    evidence = read(log, b"")

    assert evidence == Evidence(captures=evidence.captures)
    assert evidence.captures[0].bytes_read == 0


def test_a_log_cut_at_any_byte_of_a_record_never_invents_a_number(log: Path) -> None:
    text = "c906>memleak 0\n" + record(1) + record(2, pc=0x08336B46)
    for cut in range(len(text)):
        evidence = read(log, text[:cut])

        for live in evidence.dumps:
            assert {block.address for block in live.blocks} <= {0x08760960}
            assert {frame.pc for block in live.blocks for frame in block.frames} <= {0x08336AEE, 0x08336B46}
            assert live.dump.complete is not True, "the log ends before a prompt"


def test_what_cannot_be_opened_is_said_with_something_to_try(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.log cannot be read"):
        read_logs([tmp_path / "missing.log"], ReadOptions())
    with pytest.raises(UsageError, match="is a folder"):
        list(observe(tmp_path, ReadOptions()))
    with pytest.raises(UsageError, match="no regular expression"):
        read_logs([], ReadOptions(cycle_mark="("))
    with pytest.raises(UsageError, match="no dialect named"):
        read_logs([], ReadOptions(dialect="klingon"))


def test_a_file_of_another_kind_is_refused(log: Path) -> None:
    with pytest.raises(FormatError, match="an ELF file"):
        read(log, b"\x7fELF\x02\x01\x01" + bytes(100))
    with pytest.raises(FormatError, match="gzip"):
        read(log, gzip.compress(gzip.compress(b"a log")))
    with pytest.raises(FormatError, match="a saved report"):
        read(log, b'{\n  "schema": "heaptrail.report/1",\n  "source": "Free heap: 37"\n}\n')


def test_a_long_line_is_cut_and_said(log: Path) -> None:
    evidence = read(log, "memleak " + "x" * 100_000 + "\n" + free(5000))

    assert words(evidence) == ["long_line"]
    assert evidence.samples[0].line == 4


def test_an_endless_line_is_read_in_bounded_memory(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 4096)

    evidence = read(log, b"\0" * 3_000_000 + b"\n" + free(5000).encode())

    assert [sample.line for sample in evidence.samples] == [4]


def test_more_than_the_limits_is_counted_not_kept(log: Path) -> None:
    limits = Limits(heap_samples=2, problems=1, records_per_dump=3)
    text = free(5000) * 5 + "".join(record(number) for number in range(1, 9)) + "malloc failed\n" * 9

    evidence = read(log, text, limits=limits)

    assert len(evidence.samples) == 2
    assert len(evidence.dumps[0].blocks) == 3
    assert evidence.dumps[0].dump.complete is False
    assert words(evidence)[0] == "too_many"
    assert evidence.problems_omitted == 10, "nine failed allocations, and the listing's own cut"


@pytest.mark.parametrize("dialect", ["auto", "tina"])
def test_a_200_mb_log_is_read_fast_and_in_little_memory(log: Path, dialect: str) -> None:
    """One per cent of the lines are heap lines. The goal is 200 MB/s; a busy machine may take five times as long."""
    noise = b"".join(b"[I] audio: render %d underrun pts 123456 queue %d\n" % (i, i % 7) for i in range(400))
    block = b"".join(noise + free(500_000 - i).encode() for i in range(100))
    with log.open("wb") as stream:
        while stream.tell() < 200_000_000:
            stream.write(block)
    started = time.process_time()

    samples = sum(isinstance(found, HeapSample) for found in observe(log, ReadOptions(dialect=dialect)))

    assert samples == 100 * (log.stat().st_size // len(block))
    assert time.process_time() - started < 5


def test_a_listing_read_in_one_go_says_what_it_says_line_by_line(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(record(number, pc=0x8700000 + number % 3) for number in range(1, 60))
    disturbed = lines.replace("\n", "\n[I] wifi: beacon\n", 7).replace("007: ptr", "007: pt", 1)
    log.write_text(f"c906>memleak 0\n{disturbed}c906>memleak 0\n{lines}c906>\n")
    at_once = list(observe(log, ReadOptions()))

    monkeypatch.setattr(Tina, "runs", False)

    assert list(observe(log, ReadOptions())) == at_once
    assert sum(isinstance(found, Block) for found in at_once) > 100


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(free(5000).encode())))
    monkeypatch.setattr("sys.stdin", stdin)

    evidence = read_logs([Path("-")], ReadOptions())

    assert evidence.samples[0].free_bytes == 5000
    assert evidence.captures[0].name == "standard input"


def test_progress_is_told_in_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "a.log", tmp_path / "b.log"]
    for path in paths:
        path.write_text(free(5000))
    told: list[tuple[int, int | None]] = []

    read_logs(paths, ReadOptions(), lambda done, total: told.append((done, total)))

    size = len(free(5000))
    assert told[-1] == (2 * size, 2 * size)


# --- Forms of text ---


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-16"),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r\r\n").encode(),
        lambda text: text.replace("\n", "\n\r").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace("Free", "\x1b[1;32mFree\x1b[0m").encode(),
        lambda text: text.replace("Free", "Fre\b\x1b[Kee").encode(),
        lambda text: text.replace("           Free", "90 % done\r           Free").encode(),
        lambda text: text.replace(" ", "\u00a0").encode(),
        lambda text: ("```language\n" + text + "```\n").encode(),
        lambda text: "".join(f"{i}{line}\n" for i, line in enumerate(text.splitlines(), 1)).encode(),
    ],
    ids=[
        "utf-16",
        "bom",
        "crlf",
        "crcrlf",
        "lfcr",
        "cr",
        "colour",
        "backspace",
        "overprint",
        "nbsp",
        "fence",
        "numbers",
    ],
)
def test_recorders_and_web_pages_do_not_matter(log: Path, encode: object) -> None:
    evidence = read(log, encode(free(5000)))  # type: ignore[operator]

    assert [(sample.total_bytes, sample.free_bytes, sample.min_free_bytes) for sample in evidence.samples] == [
        (1907128, 5000, 5000)
    ]
    assert not evidence.problems


def test_the_recorders_stamps_give_time_since_the_first_line(log: Path) -> None:
    lines = ["[23:59:58.000] hello"] + [f"[00:00:01.500] {line}" for line in free(5000).splitlines()]

    assert read(log, "\n".join(lines) + "\n").samples[0].t_s == 3.5


def test_a_recorders_clock_set_back_is_said(log: Path) -> None:
    lines = [f"[{clock}] {line}" for clock in ("12:00:00", "11:00:00") for line in free(5000).splitlines()]

    evidence = read(log, "\n".join(lines) + "\n")

    assert words(evidence) == ["clock_jump"]
    assert [sample.t_s for sample in evidence.samples] == [0.0, 0.0]


# --- Properties ---

Facts = list[tuple[object, ...]]


def facts(observations: list[AnyObservation]) -> Facts:
    """What was read, without where."""
    found: Facts = []
    for observation in observations:
        match observation:
            case HeapSample():
                found.append(("sample", observation.total_bytes, observation.free_bytes, observation.min_free_bytes))
            case Block():
                frames = tuple(frame.pc for frame in observation.frames)
                found.append(("block", observation.address, observation.size_bytes, observation.task, frames))
            case Dump():
                found.append(("dump", observation.complete))
            case Mark() | Problem():
                found.append((observation.what,))
    return found


logs = st.builds(
    lambda table, records: [*table.lines, "c906>memleak 0", *print_listing(records), "c906>"],
    heap_tables(),
    st.lists(memleak_records(), min_size=1, max_size=5),
)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def observed(log: Path, lines: list[str]) -> Facts:
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return facts(list(observe(log, ReadOptions())))


@quick
@given(lines=logs, noise=st.lists(st.tuples(st.integers(0, 40), noise_lines()), max_size=8))
def test_lines_of_other_tasks_do_not_matter(log: Path, lines: list[str], noise: list[tuple[int, str]]) -> None:
    expected = observed(log, lines)
    disturbed = list(lines)
    for at, text in noise:
        disturbed.insert(min(at, len(disturbed)), text)

    assert observed(log, disturbed) == expected


@quick
@given(lines=logs, prefix=line_prefixes())
def test_prefixes_do_not_matter(log: Path, lines: list[str], prefix: str) -> None:
    assert observed(log, [prefix + line for line in lines]) == observed(log, lines)


@quick
@given(lines=logs, block_bytes=st.integers(1, 400))
def test_chunking_does_not_matter(
    log: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], block_bytes: int
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 512 << 10)
    expected = observed(log, lines)
    monkeypatch.setattr(sources, "BLOCK_BYTES", block_bytes)

    assert observed(log, lines) == expected


@quick
@given(lines=logs, sizes=st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_a_capture_says_what_the_log_says(log: Path, lines: list[str], sizes: list[int]) -> None:
    text = "\n".join(lines) + "\n"
    events: list[tuple[float, str, str]] = []
    at = 0
    while at < len(text):
        size = sizes[len(events) % len(sizes)]
        events.append((float(len(events)), "o", text[at : at + size]))
        at += size
    path = cast(log.with_suffix(".cast"), events)

    assert facts(list(observe(path, ReadOptions()))) == observed(log, lines)


# --- what makes a long log fast says the same as reading every line ---


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([b"\n", b"a line\n", b"x" * 3000 + b"\n", b"\r\n"]), max_size=9).map(b"".join))
def test_line_ends_are_counted_alike_in_short_and_long_stretches(data: bytes) -> None:
    chunk = Chunk(data)
    for start in range(0, len(data), max(1, len(data) // 7)):
        assert chunk.line_ends(start, len(data)) == data[start:].count(b"\n")


def test_equal_stamps_in_a_row_are_read_once_and_mean_the_same() -> None:
    prefixes = Prefixes()
    lines = [
        "[12:00:01.500] a",
        "[12:00:01.500] [ 9] b",
        "[12:00:01.500]c",
        "12:00:02 d",
        "05-06 12:00:03.1  1  2 I t: e",
    ]

    assert [prefixes.strip(line) for line in lines * 2] == [strip_prefixes(line) for line in lines * 2]
    first, second = (prefixes.strip(line) for line in lines[:2])
    assert first.host is second.host


@pytest.mark.parametrize("golden", sorted((GOLDEN / "nuttx").glob("*.txt")), ids=lambda path: path.stem)
def test_lines_that_a_table_passes_over_unread_would_have_said_nothing(
    golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = [
        "wifi: rssi -57 channel 11",
        "audio: 1152 samples at 44100",
        "",
        "\x1b[0;32mI net: 12 34 56 up\x1b[0m",
        "12 34 x",
    ]
    lines = golden.read_text().splitlines()
    path = tmp_path / "noisy.log"
    path.write_text("".join(f"{line}\n{noise[at % len(noise)]}\n" for at, line in enumerate(lines)))
    quick = list(observe(path, ReadOptions()))

    monkeypatch.delattr(Nuttx, "passes")

    assert quick == list(observe(path, ReadOptions()))


def stamped_listing(pieces: list[int], form: str) -> str:
    """Records, and what may fall in between them: other lines, a clock that stands still or goes back."""
    lines, second, number = ["c906>memleak 1", "c906>memleak 0"], 0, 0
    for piece in pieces:
        number += piece != 9
        match piece:
            case 7:
                lines.append("wifi: beacon received")
            case 8:
                second -= 100
            case 9:
                lines.append("        backtrace : 0x083")
        lines.append(f"{number:03d}: ptr = 0x{0x08760000 + 64 * number:08x}, size = 0x{piece:08x}, thread = Audio")
        lines += [f"        backtrace : 0x{0x08336000 + 2 * at:08X}" for at in range(piece % 4)]
        second += piece
    stamps = (
        form.format(h=10 + at // 3600 % 10, m=at // 60 % 60, s=at % 60) for at in range(second, second + len(lines))
    )
    return "".join(f"{stamp}{line}\n" for stamp, line in zip(stamps, lines, strict=True)) + "c906>\n"


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=60),
    st.sampled_from(["[{h}:{m:02d}:{s:02d}.500] ", "2024-05-06 {h}:{m:02d}:{s:02d} ", "{h}:{m:02d}:{s:02d}.5  ", ""]),
)
def test_a_stamped_listing_read_in_one_go_says_what_it_says_line_by_line(
    tmp_path: Path, pieces: list[int], form: str
) -> None:
    path = tmp_path / "listing.log"
    path.write_text(stamped_listing(pieces, form))

    quick = list(observe(path, ReadOptions()))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tina, "runs", False)
        slow = list(observe(path, ReadOptions()))

    assert quick == slow
    assert {block.t_s is None for block in quick if isinstance(block, Block)} <= {form == ""}


def test_a_long_stamped_listing_is_read_in_one_go(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read line by line it would take seven times as long."""
    log.write_text(stamped_listing([3] * 2000, "[{h}:{m:02d}:{s:02d}.500] "))
    fed = []
    feed = Tina.feed
    monkeypatch.setattr(Tina, "feed", lambda self, line: fed.append(line) or feed(self, line))

    evidence = read_logs([log], ReadOptions())

    assert len(evidence.dumps[0].blocks) == 2000
    assert len(fed) < 200
