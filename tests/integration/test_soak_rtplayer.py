"""Soaks on the real player at many rounds a second: proven, refuted, and through everything that a night brings."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from integration.adapter import Adapter, ConsoleServer

from heaptrail.clock import SystemClock
from heaptrail.dialects.tina import Tina
from heaptrail.interpret import Interpretation, interpret
from heaptrail.parts import PartedCapture, compress, parts_of
from heaptrail.procedures.claim import Claim, claim_sentence, parse_claim, take_look
from heaptrail.procedures.soak import SoakOutcome, SoakProgress, soak
from heaptrail.procedures.target import capture_header, transport_for
from heaptrail.procedures.workload import Workload, load_workload
from heaptrail.reading import ReadOptions
from heaptrail.transports.process import ProcessTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Heaptrail

    from heaptrail.model.report import Report
    from heaptrail.transports import Transport

ROOT = Path(__file__).resolve().parents[2]
WORKLOAD = ROOT / "examples" / "rtplayer" / "heaptrail.toml"
DEADLINE_S = 60.0
SLOWLY = "--rounds-per-second 20"
"""So that a look on a busy machine ends before the 71 rounds that the leaking player's heap lasts."""


@pytest.fixture
def player(players: dict[str, Path]) -> Callable[..., Workload]:
    """The example's workload on a player with options, at 200 rounds a second."""

    def make(program: str, options: str = "", **plan: int) -> Workload:
        workload = load_workload(WORKLOAD)
        console = f"exec:{players[program]} --rounds-per-second 200 --speed 0 {options}"
        target = msgspec.structs.replace(workload.target, console=console)
        return msgspec.structs.replace(
            workload, target=target, workload=msgspec.structs.replace(workload.workload, **plan)
        )

    return make


class Soaked:
    """What a soak left behind."""

    def __init__(self, outcome: SoakOutcome, base: Path, claim: Claim, news: list[str]) -> None:
        self.outcome = outcome
        self.news = news
        self.parts = list(parts_of(base).values())
        terms = claim.settings
        self.report: Report = interpret(self.parts, ReadOptions(), Interpretation())
        self.state, self.sentence = claim_sentence(self.report, claim, tolerance=terms.tolerate_bytes_per_cycle)

    def told(self, pattern: str) -> bool:
        return any(re.search(pattern, line) for line in self.news)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Soaked]:
    def go(
        workload: Workload,
        until: str,
        watch: Callable[[SoakProgress, Transport], None] = lambda *_: None,
        heard: Callable[[str], None] = lambda _: None,
        *,
        longest_s: float = DEADLINE_S,
        traced: bool = True,
    ) -> Soaked:
        base = tmp_path / "soak.cast"
        claim = parse_claim(until, workload.judge_settings())
        transport = transport_for(workload)
        header = capture_header(workload, dialect="tina", build_id=None, started_unix_s=0.0)
        header = msgspec.structs.replace(header, run="one", judge=claim.settings)
        assert Tina.commands is not None
        news: list[str] = []

        def hear(text: str) -> None:
            news.append(text)
            heard(text)

        with ThreadPoolExecutor(1) as aside:
            writer = PartedCapture(
                base, header, SystemClock(), part_bytes=100_000, finished=lambda path: aside.submit(compress, path)
            )
            outcome = soak(
                workload,
                Tina.commands,
                transport,
                writer,
                claim=claim,
                look=lambda: aside.submit(lambda: take_look(list(parts_of(base).values()), claim)),
                clock=SystemClock(),
                longest_s=longest_s,
                traced=traced,
                progress=lambda told: watch(told, transport),
                news=hear,
            )
        return Soaked(outcome, base, claim, news)

    return go


def test_the_mended_twin_is_proven_to_lose_less(player: Callable[..., Workload], run: Callable[..., Soaked]) -> None:
    done = run(player("mended"), "rate < 20 B/cycle")

    assert done.outcome.error is None
    assert done.outcome.state == done.state == "proven"
    assert done.report.verdict == "no_leak"
    assert re.fullmatch(
        r"Proven: the loss is below 20 bytes per cycle with 99 % confidence, for leaks whose single loss is at most "
        r"256 bytes, over \d+ cycles of this workload\.",
        done.sentence,
    )
    assert done.told(r"below 20 B per cycle; that takes about \d+ cycles after 5 cycles of warm-up")
    assert done.told(r"about [\d,]+ more cycles would prove the claim")
    assert len(done.parts) > 1, "the recording was divided"
    assert [part.suffix for part in done.parts] == [".gz"] * (len(done.parts) - 1) + [".cast"]
    assert done.report.boots == 1, "and its parts are one run"


def test_the_leaking_player_is_stopped_early(player: Callable[..., Workload], run: Callable[..., Soaked]) -> None:
    done = run(player("leaking", SLOWLY), "rate < 10 B/cycle")

    assert done.outcome.state == done.state == "refuted"
    assert done.report.verdict == "leak"
    assert done.outcome.look is not None
    assert done.outcome.look.cycles < 71, "known before its memory was used up"
    assert done.outcome.out_of_memory is None
    assert re.match(r"Refuted: 7,[67]\d\d bytes are lost per cycle", done.sentence)
    (leak,) = [finding for finding in done.report.findings if finding.finding_class == "leak"]
    assert {site.sizes_bytes for site in leak.sites} == {(0xF00,)}


def test_a_small_block_every_twenty_rounds_is_found(
    player: Callable[..., Workload], run: Callable[..., Soaked]
) -> None:
    done = run(player("mended", "--drip 20"), "rate < 0.5 B/cycle", longest_s=20.0)

    assert done.report.verdict == "leak"
    (leak,) = [finding for finding in done.report.findings if finding.finding_class == "leak"]
    assert leak.sites[0].sizes_bytes == (24,)
    assert leak.per_cycle_blocks == pytest.approx(1 / 20, abs=0.02)


def test_a_leak_on_an_error_path_is_found_though_it_is_rare(
    player: Callable[..., Workload], run: Callable[..., Soaked]
) -> None:
    """The tags of one round in ten are damaged, and the early return forgets 200 bytes."""
    damaged: list[int] = []

    def damage(told: SoakProgress, transport: Transport) -> None:
        if told.done >= 10 * (len(damaged) + 1):
            damaged.append(told.done)
            transport.write(b"fault 1\r")

    done = run(player("mended", "--error-path"), "rate < 2 B/cycle", damage, longest_s=30.0)

    assert done.report.verdict == "leak"
    (leak,) = [finding for finding in done.report.findings if finding.finding_class == "leak"]
    assert leak.sites[0].sizes_bytes == (200,)
    assert leak.per_cycle_blocks == pytest.approx(1 / 10, abs=0.05)


def test_two_leaks_at_once_are_two_findings(player: Callable[..., Workload], run: Callable[..., Soaked]) -> None:
    done = run(player("leaking", f"--drip 2 {SLOWLY}"), "rate < 10 B/cycle")

    assert done.state == "refuted"
    leaks = [finding for finding in done.report.findings if finding.finding_class == "leak"]
    assert [{size for site in leak.sites for size in site.sizes_bytes} for leak in leaks] == [{0xF00}, {24}]
    assert leaks[0].per_cycle_blocks == pytest.approx(2, abs=0.2)
    assert leaks[1].per_cycle_blocks == pytest.approx(0.5, abs=0.1)


def test_a_cache_that_fills_within_the_declared_warm_up_is_no_leak(
    player: Callable[..., Workload], run: Callable[..., Soaked]
) -> None:
    done = run(player("mended", "--cache 60", warmup_cycles=60), "rate < 40 B/cycle", longest_s=30.0)

    assert done.state == "proven"
    assert not [f for f in done.report.findings if f.finding_class in ("leak", "held_until_teardown")]
    assert not done.told(": leak")


def test_a_reset_in_between_is_told_and_the_boots_are_kept_apart(
    player: Callable[..., Workload], run: Callable[..., Soaked]
) -> None:
    rebooted = []

    def reboot(told: SoakProgress, transport: Transport) -> None:
        if told.done >= 30 and not rebooted:
            rebooted.append(told)
            transport.write(b"reboot\r")

    done = run(player("mended"), "rate < 40 B/cycle", reboot)

    assert done.outcome.error is None
    assert done.outcome.reboots == 1
    assert done.state == "proven"
    assert done.report.boots == 2
    assert done.told("the device began anew after")


def test_a_program_that_is_killed_is_started_again(player: Callable[..., Workload], run: Callable[..., Soaked]) -> None:
    killed = []

    def kill(told: SoakProgress, transport: Transport) -> None:
        assert isinstance(transport, ProcessTransport)
        if told.done >= 20 and not killed and transport.pid is not None:
            killed.append(transport.pid)
            os.kill(transport.pid, signal.SIGKILL)

    done = run(player("mended"), "rate < 40 B/cycle", kill)

    assert done.outcome.error is None
    assert (done.outcome.lost, done.outcome.reboots) == (1, 1)
    assert done.state == "proven"
    assert done.report.boots == 2
    gaps = [problem.text for problem in done.report.problems if problem.what == "gap"]
    assert any("console lost" in text and "SIGKILL" in text for text in gaps)
    assert any("console back after" in text for text in gaps)


def test_a_program_that_ends_at_once_is_given_up(tmp_path: Path, run: Callable[..., Soaked]) -> None:
    del tmp_path
    workload = load_workload(WORKLOAD)
    target = msgspec.structs.replace(workload.target, console="exec:true")
    done = run(msgspec.structs.replace(workload, target=target), "rate < 40 B/cycle")

    assert done.outcome.error is not None
    assert "5 times in a row no round was completed" in done.outcome.error.sentence


def test_the_time_given_ends_it(player: Callable[..., Workload], run: Callable[..., Soaked]) -> None:
    done = run(player("mended"), "rate < 0.01 B/cycle", longest_s=0.7)

    assert done.outcome.time_over
    assert done.outcome.error is None
    assert done.state == "open"
    assert done.report.verdict == "inconclusive"
    assert not done.outcome.left_armed


@pytest.fixture
def adapter(players: dict[str, Path], tmp_path: Path) -> Iterator[Adapter]:
    command = f"{players['mended']} --rounds-per-second 200 --speed 0"
    plugged = Adapter(ProcessTransport(command, cwd=WORKLOAD.parent), tmp_path / "ttyUSB0")
    yield plugged
    plugged.close()


def test_an_adapter_that_is_pulled_and_comes_back_under_its_name(
    adapter: Adapter, tmp_path: Path, run: Callable[..., Soaked]
) -> None:
    workload = load_workload(WORKLOAD)
    target = msgspec.structs.replace(workload.target, console=str(tmp_path / "ttyUSB0"))
    pulled = []

    def pull(told: SoakProgress, _: Transport) -> None:
        if told.done >= 30 and not pulled:
            pulled.append(told)
            adapter.pull()

    def plug(news: str) -> None:
        if "waiting for it to come back" in news:
            adapter.plug()

    done = run(msgspec.structs.replace(workload, target=target), "rate < 40 B/cycle", pull, plug)

    assert done.outcome.error is None
    assert (done.outcome.lost, done.outcome.reboots) == (1, 0)
    assert done.told("the workload runs on")
    assert done.state == "proven"
    assert done.report.boots == 1, "the device was not reset"
    assert [problem.what for problem in done.report.problems].count("gap") == 2


def test_a_terminal_server_that_is_closed_and_opened_again(
    players: dict[str, Path], run: Callable[..., Soaked]
) -> None:
    command = f"{players['mended']} --rounds-per-second 200 --speed 0"
    server = ConsoleServer(ProcessTransport(command, cwd=WORKLOAD.parent))
    workload = load_workload(WORKLOAD)
    target = msgspec.structs.replace(workload.target, console=f"socket://127.0.0.1:{server.port}")
    dropped = []

    def drop(told: SoakProgress, _: Transport) -> None:
        if told.done >= 30 and not dropped:
            dropped.append(told)
            server.drop()

    def serve(news: str) -> None:
        if "waiting for it to come back" in news:
            server.serve_again()

    try:
        done = run(msgspec.structs.replace(workload, target=target), "rate < 40 B/cycle", drop, serve)
    finally:
        server.close()

    assert done.outcome.error is None
    assert (done.outcome.lost, done.outcome.reboots) == (1, 0)
    assert done.state == "proven"


class RunningSoak:
    """`heaptrail soak` in the background, disturbed when its recording has come far enough."""

    def __init__(self, player: Path, base: Path, *options: str) -> None:
        self.base = base
        program = [sys.executable, "-c", "from heaptrail.cli import main; main()", "soak", str(WORKLOAD)]
        console = f"exec:{player} --rounds-per-second 200 --speed 0"
        arguments = ["--console", console, "--elf", str(player), "--capture", str(base), "-o", str(base) + ".json"]
        self.process = subprocess.Popen(
            [*program, *arguments, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def recorded(self) -> int:
        """Rounds on the disk, in parts that are not compressed yet."""
        plain = [path for path in parts_of(self.base).values() if path.suffix == ".cast"]
        return sum(path.read_bytes().count(b" complete\\r") for path in plain)

    def kill_after(self, rounds: int) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while self.recorded() < rounds:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            select.select([], [], [], 0.02)
        self.process.kill()
        self.process.communicate()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=DEADLINE_S)
        assert "Traceback" not in err
        return self.process.returncode, out, err


def test_a_killed_soak_goes_on_and_the_report_tells_the_story(players: dict[str, Path], tmp_path: Path) -> None:
    base = tmp_path / "night.cast"
    RunningSoak(players["mended"], base, "--until", "rate < 20 B/cycle").kill_after(60)
    before = interpret(list(parts_of(base).values()), ReadOptions(), Interpretation())

    status, out, err = RunningSoak(
        *(players["mended"], base, "--until", "rate < 20 B/cycle", "--resume"),
        *("--junit", str(tmp_path / "junit.xml")),
    ).end()

    assert status == 0, err
    assert "and 1 part before it" in err
    assert "resumed: after" in err
    assert "Proven: the loss is below 20 bytes per cycle" in out
    whole = interpret(list(parts_of(base).values()), ReadOptions(), Interpretation())
    assert whole.boots == 2, "the program was started anew"
    assert (before.cycles or 0) >= 60
    assert (whole.cycles or 0) > (before.cycles or 0)
    assert any(problem.what == "gap" and "resumed" in problem.text for problem in whole.problems)
    assert '<testcase classname="heaptrail.verdict" name="no leak"' in (tmp_path / "junit.xml").read_text()
    assert [path.name for path in parts_of(base).values()] == ["night.0001.cast.gz", "night.0002.cast"]


def test_a_run_is_never_overwritten(players: dict[str, Path], tmp_path: Path) -> None:
    base = tmp_path / "night.cast"
    kept = tmp_path / "night.0001.cast"
    kept.write_text("the night before")

    status, _, err = RunningSoak(players["mended"], base).end()

    assert status == 2
    assert "--resume" in err
    assert kept.read_text() == "the night before"


def test_a_console_that_is_not_there_leaves_nothing_behind(heaptrail: Heaptrail, tmp_path: Path) -> None:
    done = heaptrail("soak", WORKLOAD, "--console", "/dev/ttyNONE", "--capture", tmp_path / "night.cast")

    assert done.returncode == 2
    assert done.stderr.splitlines()[-2].startswith("heaptrail: there is no port /dev/ttyNONE")
    assert parts_of(tmp_path / "night.cast") == {}


def test_a_full_disk_ends_the_soak_with_its_report(players: dict[str, Path], tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk's."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000)); "
        "from heaptrail.cli import main; main()"
    )
    console = f"exec:{players['mended']} --rounds-per-second 200 --speed 0"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "soak",
            str(WORKLOAD),
            "--console",
            console,
            "--elf",
            str(players["mended"]),
            "--capture",
            str(tmp_path / "night.cast"),
            "--until",
            "rate < 1 B/cycle",
            "-o",
            "-",
        ],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    assert "the disk is full" in done.stderr
    assert "try: make room" in done.stderr
    assert "Traceback" not in done.stderr
    report = interpret(list(parts_of(tmp_path / "night.cast").values()), ReadOptions(), Interpretation())
    assert (report.cycles or 0) > 5
    assert not [problem for problem in report.problems if problem.what == "cut_capture"]


def test_the_fix_is_compared_with_the_run_before_it(
    heaptrail: Heaptrail, players: dict[str, Path], tmp_path: Path
) -> None:
    def soaked(program: str, *options: str | Path) -> subprocess.CompletedProcess[str]:
        player = players[program]
        return heaptrail(
            *("soak", WORKLOAD, "--console", f"exec:{player} --rounds-per-second 200 --speed 0", "--elf", player),
            *("--capture", tmp_path / f"{program}.cast", "--until", "rate < 40 B/cycle"),
            *("-o", tmp_path / f"{program}.json", *options),
        )

    assert soaked("leaking").returncode == 1
    fixed = soaked("mended", "--baseline", tmp_path / "leaking.json")

    assert fixed.returncode == 0, fixed.stderr
    assert "Compared with the baseline: Better: " in fixed.stdout
    assert "the leak in softvol_ap_update_mode (softvolume.c:33) is gone" in fixed.stdout
    assert fixed.stdout.splitlines()[-1].startswith("Proven: ")
