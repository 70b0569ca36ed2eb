"""`memleak stream`: frames between lines of text, found again by cutting at every zero, and nothing of either lost."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from heaptrail.model.stream import Kind, Stream
from heaptrail.wire import decode

pytestmark = pytest.mark.sanitizer
HERE = Path(__file__).resolve().parent
AGENT = HERE.parents[1] / "agent"
FRAMES = range(4, 256)


class Line(NamedTuple):
    """What came over the console's line."""

    text: str
    stream: Stream
    frames: int
    frame_bytes: int

    def off(self) -> dict[str, int]:
        """The numbers of the line behind the last frame."""
        (found,) = re.findall(r"^ {4}heaptrail: stream off (.*)$", self.text, re.MULTILINE)
        return {name: int(value) for name, value in (word.split("=") for word in found.split())}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (apt-get install gcc)")
    target = tmp_path_factory.mktemp("stream") / "stream"
    flags = ("-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-DHT_STREAM=1", "-DHT_STREAM_FRAMES=2")
    tables = ("-DHT_RECORDS=8", "-DHT_SITES=8", "-DHT_DEPTH=4", "-DHT_SHOWN_ADDRESS(ret)=(ret)")
    sources = (HERE / "stream.c", *sorted((AGENT / "src").glob("ht_wire*.c")), AGENT / "src" / "ht_stream.c")
    command = (compiler, *flags, *tables, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    words = (*command, f"-I{AGENT / 'include'}", *sources, "-o", target)
    built = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return target


def played(program: Path, script: str) -> Line:
    """Cut at zeros as SPEC.md says. The wire's own decoder tells frames from text by their checksums."""
    ended = subprocess.run([program, script], capture_output=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    pieces = ended.stdout.split(b"\0")
    whole = [each for each in pieces if len(each) in FRAMES and decode(each + b"\0").counts.frames == 1]
    text = b"".join(each for each in pieces if each not in whole).decode()
    stream = decode(ended.stdout + b"\0")
    assert stream.counts.frames == len(whole)
    assert stream.counts.damaged_frames == 0
    return Line(text, stream, len(whole), sum(len(each) + 2 for each in whole))


def test_frames_stand_between_lines_of_text_and_both_are_whole(program: Path) -> None:
    line = played(program, "streamed")

    assert [each.removeprefix("    ") for each in line.text.splitlines()] == [
        f"heaptrail: stream on wire=1 agent={version()} build=none ticks=0 frames=2 filters=0 state=on",
        "playback round 1 complete",
        f"heaptrail: stream off frames={line.frames} bytes={line.frame_bytes} events=17 dropped=0",
        "memleak: no stream to end",
    ]
    kinds = line.stream.events.kind.tolist()
    assert kinds == [Kind.ALLOC, Kind.FREE] * 8 + [Kind.ALLOC]
    assert (line.stream.counts.lost_events, line.stream.problems) == (0, ())
    assert [task.name for task in line.stream.tasks.values()] == ["AudioRender"]


def version() -> str:
    header = (AGENT / "include" / "ht_agent.h").read_text(encoding="utf-8")
    return re.findall(r'^#define HT_AGENT_VERSION "(.+)"$', header, re.MULTILINE)[0]


def test_events_that_found_no_room_are_told_at_the_end(program: Path) -> None:
    line = played(program, "overflowed")

    assert line.off()["events"] == 1000
    assert line.off()["dropped"] == line.stream.counts.lost_events == line.stream.counts.dropped_events > 0
    assert len(line.stream.events) + line.off()["dropped"] == 1000


def test_memleak_0_ends_the_stream_before_its_dump(program: Path) -> None:
    lines = played(program, "ended_by_memleak_0").text.splitlines()

    places = [next(at for at, text in enumerate(lines) if word in text) for word in ("stream off", "begin dump")]
    assert places == sorted(places)


def test_a_second_memleak_stream_sends_every_definition_again(program: Path) -> None:
    line = played(program, "asked_twice")

    assert line.text.count("heaptrail: stream on ") == 2
    assert line.frames == 4 + 3  # greeting, tasks, stacks, events; then a greeting that is also the last, tasks, stacks
    assert line.stream.problems == ()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("nowhere", "    memleak: the stream has no output: call ht_stream_output\n"),
        ("elsewhere", "    memleak: the stream goes elsewhere already\n"),
        ("cleared_at_the_end", ""),
    ],
)
def test_what_cannot_be_streamed_is_said(program: Path, script: str, says: str) -> None:
    assert played(program, script).text == says
