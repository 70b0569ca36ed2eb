"""`read` and `parse` on what users really send: documents, cut logs, noise, the wrong file."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Heaptrail

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "dialects" / "tina"

TWO_READINGS = """\
c906>free
==> Round [1] <==
Total Heap Size :  1907128 Bytes    ( 1862 KB)
           Free :   547632 Bytes    (  534 KB)
       Min Free :   536208 Bytes    (  523 KB)

c906>free
==> Round [1] <==
Total Heap Size :  1907128 Bytes    ( 1862 KB)
           Free :   456992 Bytes    (  446 KB)
       Min Free :   453440 Bytes    (  442 KB)

c906>memleak 0
    001: ptr = 0x08760960, size = 0x00000f00, thread = AudioRender
        backtrace : 0x08336AEE
        backtrace : 0x08336B46
        backtrace : 0x08396D52
    002: ptr = 0x0875f990, size = 0x00000f00, thread = AudioRender
        backtrace : 0x08336AEE
        backtrace : 0x08336B46
        backtrace : 0x0839757E
"""


def report_of(heaptrail: Heaptrail, *arguments: str | Path, stdin: bytes = b"") -> dict[str, object]:
    done = heaptrail("read", *arguments, "--format", "json", stdin=stdin)
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert done.returncode == {"no_leak": 0, "leak": 1, "inconclusive": 3}[report["verdict"]]
    return report


def test_two_readings_of_unknown_distance_are_a_fall_and_no_verdict(heaptrail: Heaptrail) -> None:
    report = report_of(heaptrail, "-", stdin=TWO_READINGS.encode())

    assert report["verdict"] == "inconclusive"
    assert "90,640" in json.dumps(report["reasons"])
    whats = {problem["what"] for problem in report["problems"]}  # type: ignore[attr-defined]
    assert {"no_elf", "cycles_unknown"} <= whats
    assert all(site["name"] is None for finding in report["findings"] for site in finding["sites"])  # type: ignore[attr-defined]


def test_the_case_document_itself_is_a_log(heaptrail: Heaptrail) -> None:
    case = ROOT.parent / "shared" / "case" / "r128-memleak-case.zh.md"
    log = case.read_bytes() if case.exists() else (GOLDEN / "case-markdown.txt").read_bytes()

    done = heaptrail("parse", "-", stdin=log)

    observations = [json.loads(line) for line in done.stdout.splitlines()]
    samples = [o for o in observations if o["kind"] == "heap_sample"]
    assert [(s["free_bytes"], s["min_free_bytes"], s["total_bytes"]) for s in samples] == [
        (547_632, 536_208, 1_907_128),
        (456_992, 453_440, 1_907_128),
    ]
    tasks = [o for o in observations if o["kind"] == "task"]
    boundary = samples[1]["line"]
    assert [sum(t["line"] < boundary for t in tasks), sum(t["line"] > boundary for t in tasks)] == [26, 26]
    blocks = [o for o in observations if o["kind"] == "block"]
    assert [(b["address"], b["size_bytes"], len(b["frames"])) for b in blocks] == [
        (0x08760960, 0xF00, 6),
        (0x0875F990, 0xF00, 6),
    ]


def test_random_bytes_are_no_leak_and_no_traceback(heaptrail: Heaptrail, tmp_path: Path) -> None:
    noise = tmp_path / "noise.bin"
    noise.write_bytes(random.Random(7).randbytes(2_000_000))

    done = heaptrail("read", noise)

    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr


def test_a_log_cut_at_any_place_is_never_a_leak(heaptrail: Heaptrail) -> None:
    log = TWO_READINGS.encode()
    for cut in range(0, len(log), 97):
        done = heaptrail("read", "-", stdin=log[:cut])

        assert done.returncode in (2, 3), log[:cut][-60:]
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no-such.log"], "no-such.log"),
        (["."], "folder"),
        (["-", "--elf", "no-such.elf"], "no-such.elf"),
        (["-", "--format", "pdf"], "no report format named 'pdf'"),
        (["-", "--output", "report.pdf"], "suffix of report.pdf"),
        (["-", "--cycle-mark", "("], "cycle-mark"),
        (["-", "--dialect", "klingon"], "no dialect named 'klingon'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_something_to_try(
    heaptrail: Heaptrail, arguments: list[str], sentence: str
) -> None:
    done = heaptrail("read", *arguments, stdin=TWO_READINGS.encode())

    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.splitlines()[-1].startswith("try: ")
    assert "Traceback" not in done.stderr


def test_an_elf_without_the_logs_addresses_is_refused_and_can_be_insisted_on(
    heaptrail: Heaptrail, players: dict[str, Path]
) -> None:
    refused = heaptrail("read", "-", "--elf", players["leaking"], stdin=TWO_READINGS.encode())
    insisted = heaptrail("read", "-", "--elf", players["leaking"], "--allow-mismatch", stdin=TWO_READINGS.encode())

    assert refused.returncode == 2
    assert "outside the code" in refused.stderr
    assert insisted.returncode == 3
    assert "elf_mismatch" in insisted.stdout or "--allow-mismatch" in insisted.stdout


def test_a_log_that_never_ends_a_line_is_bounded(heaptrail: Heaptrail, tmp_path: Path) -> None:
    endless = tmp_path / "endless.log"
    endless.write_bytes(b"x" * 30_000_000)

    done = heaptrail("read", endless)

    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_help_is_there_at_once(heaptrail: Heaptrail) -> None:
    started = time.monotonic()
    done = heaptrail("--help")

    assert done.returncode == 0
    assert all(command in done.stdout for command in ("hunt", "read", "parse", "render", "init", "list"))
    assert time.monotonic() - started < 30, "only a hang is a failure here; the time is measured in bench/"


def test_a_report_can_be_rendered_again(heaptrail: Heaptrail, tmp_path: Path) -> None:
    saved = tmp_path / "report.json"
    saved.write_text(json.dumps(report_of(heaptrail, "-", stdin=TWO_READINGS.encode())))

    first = heaptrail("read", "-", stdin=TWO_READINGS.encode())
    again = heaptrail("render", saved)

    assert again.returncode == first.returncode == 3
    assert again.stdout == first.stdout


def test_output_to_a_folder_that_cannot_be_made_is_said(heaptrail: Heaptrail) -> None:
    done = heaptrail("read", "-", "-o", f"{os.devnull}/report.json", stdin=TWO_READINGS.encode())

    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_an_answer_given_afterwards_is_applied_with_terms(heaptrail: Heaptrail, tmp_path: Path) -> None:
    terms = tmp_path / "heaptrail.toml"
    terms.write_text(
        '[target]\nconsole = "/dev/ttyUSB0"\n[workload]\ncycle_mark = "done"\n'
        '[[judge.capacity]]\nsite = "0x08396D52"\nmax_blocks = 4\n',
        encoding="utf-8",
    )
    report = report_of(heaptrail, "-", "--terms", terms, stdin=TWO_READINGS.encode())

    classes = {site["frames"][2]["pc"]: finding["class"] for finding in report["findings"] for site in finding["sites"]}  # type: ignore[attr-defined]
    assert classes == {0x08396D52: "bounded", 0x0839757E: "undecided"}
    assert report["provenance"]["options"]["[judge] capacity"] == "0x08396D52: 4 blocks"  # type: ignore[index]
