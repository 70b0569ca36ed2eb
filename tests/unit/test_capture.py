"""The capture format: what is written, what is read back, and what is left after an accident."""

from __future__ import annotations

import io
import json
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptrail.capture import (
    CaptureEvent,
    CaptureHeader,
    CaptureReader,
    CaptureWriter,
    format_mark,
    looks_like_capture,
    parse_mark,
    read_capture,
)
from heaptrail.errors import FormatError, HeaptrailError
from heaptrail.model.verdict import JudgeSettings


class HandClock:
    """Moved by the test."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


HEADER = CaptureHeader(
    target="exec:./player song.wav",
    dialect="tina",
    prompt="c906>",
    cycle_mark=r"round \d+ complete",
    boot_mark=r"\*\*\* boot",
    warmup_cycles=5,
    judge=JudgeSettings(confidence=0.95),
    build_id="00ff",
    started_unix_s=1_700_000_000.25,
)


def read(data: bytes) -> tuple[CaptureHeader, list[CaptureEvent], CaptureReader]:
    header, reader = read_capture(io.BytesIO(data))
    return header, list(reader), reader


def foreign(*lines: str) -> bytes:
    """A recording of asciinema's own with these event lines."""
    return "\n".join(['{"version": 2, "width": 80, "height": 24, "timestamp": 1504467315}', *lines, ""]).encode()


def output_of(events: list[CaptureEvent]) -> bytes:
    return b"".join(event.data for event in events if event.kind == "o")


def test_events_come_back_in_order_with_their_times(tmp_path: Path) -> None:
    clock = HandClock()
    path = tmp_path / "run.cast"
    with CaptureWriter(path, HEADER, clock) as capture:
        capture.input(b"free\r")
        clock.now_s += 0.25
        capture.output(b"Free : 547632 Bytes\r\n")
        clock.now_s += 1
        capture.mark("cycle")
        capture.mark("step", "tracer on")

    _, events, reader = read(path.read_bytes())

    assert events == [
        CaptureEvent(0.0, "i", "free\r"),
        CaptureEvent(0.25, "o", "Free : 547632 Bytes\r\n"),
        CaptureEvent(1.25, "m", "cycle"),
        CaptureEvent(1.25, "m", "step: tracer on"),
    ]
    assert not reader.cut
    assert reader.bad_lines == 0


def test_an_older_recording_stays_until_there_is_something_to_record(tmp_path: Path) -> None:
    path = tmp_path / "run.cast"
    with CaptureWriter(path, HEADER, HandClock()) as capture:
        capture.output(b"the night's only run\n")
    before = path.read_bytes()

    CaptureWriter(path, HEADER, HandClock()).close()  # a hunt whose adapter was not plugged in
    assert path.read_bytes() == before

    with CaptureWriter(path, HEADER, HandClock()) as capture:
        capture.output(b"x")
    _, events, _ = read(path.read_bytes())
    assert len(events) == 1


def test_the_header_comes_back_whole_and_is_asciicast_version_2(tmp_path: Path) -> None:
    path = tmp_path / "run.cast"
    CaptureWriter(path, HEADER, HandClock()).close()

    first = json.loads(path.read_bytes().splitlines()[0])
    header, events, _ = read(path.read_bytes())

    assert (first["version"], first["timestamp"], first["heaptrail"]["schema"]) == (2, 1_700_000_000, 1)
    assert header.heaptrail_version is not None
    assert header == HEADER.__class__(**{**as_fields(HEADER), "heaptrail_version": header.heaptrail_version})
    assert events == []


def as_fields(header: CaptureHeader) -> dict[str, object]:
    return {name: getattr(header, name) for name in header.__struct_fields__}


def test_a_character_cut_by_a_read_is_joined(tmp_path: Path) -> None:
    path = tmp_path / "run.cast"
    with CaptureWriter(path, HEADER, HandClock()) as capture:
        capture.output("ab內".encode()[:-1])
        capture.output("內".encode()[-1:] + b"c")

    _, events, _ = read(path.read_bytes())

    assert [event.text for event in events] == ["ab", "內c"]


def test_half_a_character_on_a_quiet_line_is_written_in_time(tmp_path: Path) -> None:
    path, clock = tmp_path / "run.cast", HandClock()
    with CaptureWriter(path, HEADER, clock) as capture:
        capture.output(b"\xe5")
        capture.output(b"")
        assert read(path.read_bytes())[1] == []  # it may still be completed
        clock.now_s += 0.3
        capture.output(b"")
        assert read(path.read_bytes())[1] == [CaptureEvent(0.3, "o", "\udce5")]


def test_what_was_held_back_stands_before_the_input_that_follows(tmp_path: Path) -> None:
    path = tmp_path / "run.cast"
    with CaptureWriter(path, HEADER, HandClock()) as capture:
        capture.output(b"\xe5")
        capture.input(b"x")

    assert [(event.kind, event.data) for event in read(path.read_bytes())[1]] == [("o", b"\xe5"), ("i", b"x")]


@given(st.lists(st.binary(max_size=40), max_size=30), st.lists(st.booleans(), min_size=30, max_size=30))
def test_bytes_survive_any_chunking_and_any_input_in_between(chunks: list[bytes], typed: list[bool]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.cast"
        with CaptureWriter(path, HEADER, HandClock()) as capture:
            for chunk, also_input in zip(chunks, typed, strict=False):
                capture.output(chunk)
                if also_input:
                    capture.input(chunk)
        data = path.read_bytes()

    _, events, _ = read(data)

    assert data.isascii()
    assert output_of(events) == b"".join(chunks)
    typed_bytes = b"".join(event.data for event in events if event.kind == "i")
    assert typed_bytes == b"".join(c for c, also in zip(chunks, typed, strict=False) if also)


def test_a_file_cut_at_any_byte_is_readable_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "run.cast"
    with CaptureWriter(path, HEADER, HandClock()) as capture:
        capture.output("內存 \x1b[1m\r\n".encode() + b"\xff\xfe")
        capture.input(b"memleak 0\r")
        capture.mark("boot")
    whole = path.read_bytes()
    header_end = whole.index(b"\n")
    _, all_events, _ = read(whole)

    for cut_at in range(1, len(whole)):
        part = whole[:cut_at]
        if cut_at < header_end:
            with pytest.raises(FormatError, match="cut in the middle of the header"):
                read(part)
            continue
        _, events, reader = read(part)
        complete = part.count(b"\n") - 1 + (whole[cut_at : cut_at + 1] == b"\n")
        assert events == all_events[: max(complete, 0)]
        assert reader.cut == (not part.endswith(b"\n") and whole[cut_at : cut_at + 1] != b"\n")
        assert reader.bad_lines == 0


RECORDER = """
import pathlib
import sys
from heaptrail.capture import CaptureHeader, CaptureWriter
from heaptrail.clock import SystemClock

capture = CaptureWriter(pathlib.Path(sys.argv[1]), CaptureHeader(), SystemClock())
try:
    for number in range(10**9):
        capture.output(b"line %d\\n" % number)
        if number == 100:
            print("there", flush=True)
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_killed_recorder_leaves_every_event_it_had_written(tmp_path: Path) -> None:
    path = tmp_path / "run.cast"
    recorder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            RECORDER,
            str(path),
        ],
        stdout=subprocess.PIPE,
    )
    assert recorder.stdout is not None
    with recorder, recorder.stdout:
        assert recorder.stdout.readline() == b"there\n"
        recorder.send_signal(signal.SIGKILL)

    _, events, reader = read(path.read_bytes())

    assert reader.bad_lines == 0
    assert len(events) > 100
    assert output_of(events) == b"".join(b"line %d\n" % number for number in range(len(events)))


def test_a_full_disk_is_said_and_the_file_so_far_stays_valid(tmp_path: Path) -> None:
    path = tmp_path / "run.cast"
    limit = 8192  # bytes, more than a hundred events

    def lower_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            RECORDER,
            str(path),
        ],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lower_limit,
    )

    _, events, reader = read(path.read_bytes())

    assert "HeaptrailError" in done.stdout
    assert "the disk is full" in done.stdout
    assert "try: make room" in done.stdout
    assert not reader.cut
    assert output_of(events) == b"".join(b"line %d\n" % number for number in range(len(events)))


def test_a_device_without_room_is_said_at_once() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(HeaptrailError, match="/dev/full: the disk is full"):
        CaptureWriter(Path("/dev/full"), HEADER, HandClock())


def test_a_folder_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(HeaptrailError, match="cannot write the capture: No such file or directory"):
        CaptureWriter(tmp_path / "nowhere" / "run.cast", HEADER, HandClock())


def test_a_recording_of_asciinema_is_read() -> None:
    header, events, reader = read(
        foreign('[0.248848, "o", "\\u001b[1;31mHello\\ud83d\\ude00"]', '[1, "r", "80x24"]', '[2, "m", ""]')
    )

    assert header == CaptureHeader(started_unix_s=1_504_467_315.0)
    assert events == [CaptureEvent(0.248848, "o", "\x1b[1;31mHello😀"), CaptureEvent(2.0, "m", "")]
    assert reader.bad_lines == 0


@pytest.mark.parametrize(
    "bad",
    [
        '[1.0, "o"]',
        '["1.0", "o", "x"]',
        '[NaN, "o", "x"]',
        '[1e999, "o", "x"]',
        '[1.0, "o", 5]',
        '[1.0, "o", "\\ud800"]',
        '{"a": 1}',
        "[" * 100_000,
        '[1.0, "o", "half',
        "\x00\x01",
    ],
)
def test_a_damaged_line_is_counted_and_the_rest_is_read(bad: str) -> None:
    _, events, reader = read(foreign('[0, "o", "before"]', bad, '[2, "o", "after"]'))

    assert [event.text for event in events] == ["before", "after"]
    assert (reader.bad_lines, reader.first_bad_line, reader.cut) == (1, 3, False)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b'{"version": 1, "width": 80, "stdout": [[0.1, "x"]]}', "line 1 says asciicast version 1"),
        (b'{\n  "version": 1,\n  "stdout": []\n}', "line 1 says asciicast version 1"),
        (b'{"version": 3, "term": {"cols": 80}}\n[0.1, "o", "x"]\n', "line 1 says asciicast version 3"),
        (b'{"width": 80}\n', "line 1 says asciicast version none"),
        (b"c906>free\n", "line 1 is not the header"),
        (b"[1, 2]\n", "line 1 is not the header"),
        (b'{"version": 2, "heaptrail": {"schema": 2}}\n', "keys of schema 2, heaptrail .* knows up to 1"),
        (b'{"version": 2, "heaptrail": {"schema": 1, "prompt": 5}}\n', r"Expected `str \| null`, got `int` .*prompt"),
    ],
)
def test_what_is_no_capture_of_version_2_is_refused_with_a_sentence(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=f"odd.cast: .*{message}"):
        read_capture(io.BytesIO(data), name="odd.cast")


def test_unknown_keys_are_ignored() -> None:
    header, _, _ = read(b'{"version": 2, "x": 1, "heaptrail": {"schema": 1, "prompt": "c906>", "later": [1]}}\n')

    assert header.prompt == "c906>"


@given(st.binary(max_size=200))
def test_noise_after_the_header_never_raises(noise: bytes) -> None:
    _, events, reader = read(foreign() + noise)

    assert len(events) + reader.bad_lines + reader.cut <= noise.count(b"\n") + 1


def test_a_line_without_end_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heaptrail.capture.MAX_EVENT_LINE_BYTES", 64)

    _, events, reader = read(foreign(f'[0, "o", "{"x" * 1000}"]', '[1, "o", "short"]'))

    assert [event.text for event in events] == ["short"]
    assert reader.bad_lines == 1


@pytest.mark.parametrize("what", ["boot", "cycle", "step"])
@pytest.mark.parametrize("label", ["", "tracer on", "a: b"])
def test_marks_come_back(what: str, label: str) -> None:
    assert parse_mark(format_mark(what, label)) == (what, label)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "chapter 2", "cycles", "reboot: x"])
def test_a_marker_of_somebody_else_is_none_of_ours(text: str) -> None:
    assert parse_mark(text) is None


def test_a_capture_is_told_from_a_log_by_its_first_bytes() -> None:
    assert looks_like_capture(foreign())
    assert not looks_like_capture(b"c906>free\r\n")
    assert not looks_like_capture(b'{"kind": "heap_sample"}\n')


def test_closing_twice_is_harmless_and_writing_afterwards_is_said(tmp_path: Path) -> None:
    capture = CaptureWriter(tmp_path / "run.cast", HEADER, HandClock())
    capture.close()
    capture.close()

    with pytest.raises(HeaptrailError, match="closed already"):
        capture.mark("boot")
