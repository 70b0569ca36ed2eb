"""A port that fails at each of its calls in turn: no crash, no block lost, the lock given back, and all whole."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from heaptrail.wire import decode

HERE = Path(__file__).resolve().parent
AGENT = HERE.parents[1] / "agent"
FAULTS = re.findall(r"^ +FAULT\((\w+),", (HERE / "failing.c").read_text(encoding="utf-8"), re.MULTILINE)
TABLES = {"RECORDS": 8, "SITES": 8, "DEPTH": 4, "STACKS": 24, "FRAMES": 96, "THREADS": 6, "FILTERS": 2, "FREED": 64}
STREAM = {"STREAM": 1, "STREAM_FRAMES": 8, "SHOWN_ADDRESS(ret)": "(ret)"}  # the fake stacks are addresses of no code


@pytest.fixture(scope="module", params=["-O1", "-Os"], ids=["fast", "small"])
def failing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (apt-get install gcc)")
    target = tmp_path_factory.mktemp("failing") / "failing"
    flags = ("-std=c11", "-g", request.param, "-Wall", "-Wextra", "-Wshadow", "-Werror")
    tables = [f"-DHT_{name}={value}" for name, value in (TABLES | STREAM).items()]
    sources = (HERE / "failing.c", *sorted((AGENT / "src").glob("*.c")))
    command = (compiler, *flags, *tables, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    words = (*command, f"-I{AGENT / 'include'}", *sources, "-o", target)
    built = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return target


@pytest.mark.sanitizer
@pytest.mark.parametrize("fault", FAULTS)
def test_a_port_that_fails_at_any_call_costs_no_block_and_no_frame(failing: Path, fault: str) -> None:
    ended = subprocess.run([failing, fault], capture_output=True, timeout=60, check=False)

    assert ended.returncode == 0, ended.stderr.decode()
    ends = re.findall(rb"heaptrail: stream off frames=(\d+) ", ended.stdout)
    stream = decode(ended.stdout + b"\0")
    if fault != "name_is_no_text":  # such a name in a line of text is no frame, nor a stretch of text
        assert stream.counts.damaged_frames == 0
    assert stream.counts.frames == sum(int(frames) for frames in ends)
    begun, complete = (ended.stdout.count(b"heaptrail: " + word) for word in (b"begin ", b"end "))
    assert begun == complete == 4 * len(ends)  # show, show compact, sites, and that of memleak 0
