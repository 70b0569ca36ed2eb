"""The live view on the real player, and its screen driven by textual's own pilot."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from integration.adapter import Adapter
from rich.text import Text
from textual.widgets import Static
from unit.reports import samples

from heaptrail.cli.recording import recording, resumption_of
from heaptrail.cli.screen import WatchApp
from heaptrail.clock import SystemClock
from heaptrail.dialects.tina import Tina
from heaptrail.errors import HeaptrailError
from heaptrail.interpret import Interpretation, interpret
from heaptrail.parts import PartedCapture, parts_of
from heaptrail.procedures.target import capture_header, transport_for
from heaptrail.procedures.watch import Glimpse, Watch
from heaptrail.procedures.workload import Workload, load_workload
from heaptrail.reading import ReadOptions
from heaptrail.suppressions import load_suppressions, mark_suppressed
from heaptrail.transports.process import ProcessTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Heaptrail

    from heaptrail.model.report import Report

ROOT = Path(__file__).resolve().parents[2]
WORKLOAD = ROOT / "examples" / "rtplayer" / "heaptrail.toml"
DEADLINE_S = 30.0
PLAY = b"rtplayer_test ../../out/rtplayer/boot.wav\rl\rb\r"


class Watched:
    """A watch on a console, with what it records."""

    def __init__(self, workload: Workload, base: Path, **options: float) -> None:
        self.base = base
        self.workload = workload
        self.transport = transport_for(workload)
        self._aside = ThreadPoolExecutor(1)
        header = capture_header(workload, dialect="tina", build_id=None, started_unix_s=0.0)
        writer = PartedCapture(
            base, msgspec.structs.replace(header, run="one"), SystemClock(), finished=lambda path: path
        )
        assert Tina.commands is not None
        self.watch = Watch(
            *(workload, "tina", Tina.commands, self.transport, writer),
            clock=SystemClock(),
            look=lambda: self._aside.submit(self.report),
            sample_every_s=options.get("sample_every_s"),
        )

    def report(self) -> Report:
        return interpret(list(parts_of(self.base).values()), ReadOptions(), Interpretation())

    def until(self, seen: Callable[[Glimpse], bool]) -> Glimpse:
        deadline = time.monotonic() + DEADLINE_S
        while not seen(glimpse := self.watch.glimpse()):
            assert time.monotonic() < deadline, glimpse
            assert glimpse.failed is None
        return glimpse

    def end(self) -> None:
        self.watch.stop()
        self._aside.shutdown()


@pytest.fixture
def watched(players: dict[str, Path], tmp_path: Path) -> Iterator[Watched]:
    """A watch on the leaking player, which somebody has told to play."""
    workload = load_workload(WORKLOAD)
    console = f"exec:{players['leaking']} --rounds-per-second 10 --speed 0"
    target = msgspec.structs.replace(workload.target, console=console)
    made = Watched(msgspec.structs.replace(workload, target=target), tmp_path / "watch.cast", sample_every_s=0.1)
    made.watch.start()
    made.transport.write(PLAY)
    yield made
    made.end()


def test_figures_are_at_hand_and_a_verdict_follows(watched: Watched) -> None:
    glimpse = watched.until(lambda now: now.report is not None and now.report.verdict == "leak")

    assert glimpse.report is not None
    assert glimpse.report.rate_bytes_per_cycle is not None
    assert glimpse.report.exhaustion_hours is not None
    assert glimpse.readings >= 24
    assert glimpse.points[0].free_bytes > glimpse.points[-1].free_bytes
    assert glimpse.cycles > 10
    assert {"IDLE", "tcpip"} <= {task.name for task in glimpse.tasks}


def test_keys_arm_the_tracer_list_blocks_and_mark_cycles(watched: Watched) -> None:
    watched.until(lambda now: now.readings >= 3)
    watched.watch.arm()
    watched.until(lambda now: now.armed is True)
    watched.watch.list_blocks()
    watched.watch.mark_cycle()
    watched.watch.arm()
    watched.until(lambda now: now.armed is False)
    watched.until(lambda now: any("backtrace" in line or "memleak" in line for line in now.lines))
    watched.end()

    text = "".join(path.read_text() for path in parts_of(watched.base).values())
    assert '"m", "step: tracer on"' in text
    assert '"m", "step: tracer off"' in text
    assert '"m", "cycle: by hand"' in text
    assert '"i", "memleak show' in text


def test_a_console_that_comes_back_is_listened_to_again(players: dict[str, Path], tmp_path: Path) -> None:
    program = ProcessTransport(f"{players['mended']} --rounds-per-second 50 --speed 0", cwd=WORKLOAD.parent)
    adapter = Adapter(program, tmp_path / "ttyUSB0")
    workload = load_workload(WORKLOAD)
    target = msgspec.structs.replace(workload.target, console=str(tmp_path / "ttyUSB0"))
    made = Watched(msgspec.structs.replace(workload, target=target), tmp_path / "watch.cast")
    try:
        made.watch.start()
        made.transport.write(PLAY)
        made.until(lambda now: now.cycles >= 5)
        adapter.pull()
        gone = made.until(lambda now: not now.listening)
        adapter.plug()
        back = made.until(lambda now: now.listening and now.cycles > gone.cycles + 5)
    finally:
        made.end()
        adapter.close()

    assert back.boots == 1
    assert any("waiting for it to come back" in news for news in back.news)
    assert "the console is back" in back.news
    assert [problem.what for problem in made.report().problems].count("gap") == 2


def test_a_watch_that_was_ended_goes_on_where_it_was(watched: Watched) -> None:
    watched.until(lambda now: now.cycles >= 12 and now.readings >= 12)
    watched.end()
    before = watched.watch.glimpse()
    transport = transport_for(watched.workload)
    assert Tina.commands is not None

    with ThreadPoolExecutor(1) as aside:
        fresh = capture_header(watched.workload, dialect="tina", build_id=None, started_unix_s=0.0)
        resumption = resumption_of(watched.base, fresh)
        assert resumption is not None
        writer = recording(watched.base, fresh, SystemClock(), aside, resumption=resumption)
        watch = Watch(
            *(watched.workload, "tina", Tina.commands, transport, writer),
            clock=SystemClock(),
            look=lambda: aside.submit(watched.report),
            sample_every_s=0.1,
        )
        watch.go_on_from(list(resumption.parts.values()), resumption.offset_s)
        known = watch.glimpse()
        watch.start()
        transport.write(PLAY)
        watched.watch = watch
        watched.until(lambda now: now.readings >= before.readings + 3 and now.report is not None)
        watch.stop()

    assert [point.free_bytes for point in known.points] == [point.free_bytes for point in before.points]
    assert (known.boots, known.cycles) == (before.boots + 1, 0), "the program was started anew"
    report = watched.report()
    assert report.boots == 2
    assert any(problem.what == "gap" and "resumed" in problem.text for problem in report.problems)


def shown(app: WatchApp, pane: str) -> str:
    content = app.query_one(f"#{pane}", Static).content
    return content.plain if isinstance(content, Text) else str(content)


def test_the_screen_shows_it_and_passes_keys_on(watched: Watched) -> None:
    async def drive() -> dict[str, str]:
        app = WatchApp(watched.watch, "exec:player")
        async with app.run_test(size=(100, 34)) as pilot:
            await pilot.press("a", "l", "f", "j")
            await asyncio.to_thread(watched.until, lambda now: now.report is not None and now.armed is True)
            await asyncio.to_thread(watched.until, lambda now: now.readings >= 5)
            app.draw()
            await pilot.pause()
            panes = {pane: shown(app, pane) for pane in ("status", "curve", "verdict", "tasks", "lines")}
            await pilot.press("q")
        return panes

    panes = asyncio.run(drive())

    assert "listening · tracer on" in panes["status"]
    assert "now 5" in panes["curve"] or "now 4" in panes["curve"]
    assert any(0x2800 < ord(character) < 0x2900 for character in panes["curve"])
    assert panes["verdict"].startswith(("Leak", "Inconclusive"))
    assert "words" in panes["tasks"]
    assert panes["lines"]


def test_the_screen_tells_known_leaks_from_new_ones(watched: Watched, tmp_path: Path) -> None:
    known = tmp_path / "known.supp"
    known.write_text("leak:_AudioTrackStart\n")
    today = date(2026, 1, 1)
    report = mark_suppressed(samples.leak(), load_suppressions(known), today=today)
    seen = msgspec.structs.replace(watched.watch.glimpse(), report=report)

    class Still:
        def glimpse(self) -> Glimpse:
            return seen

    async def drive() -> str:
        app = WatchApp(Still(), "t")  # type: ignore[arg-type]
        async with app.run_test(size=(100, 34)) as pilot:
            await pilot.pause()
            return shown(app, "verdict")

    text = asyncio.run(drive())

    assert "softvol_ap_update_mode (known): " in text
    assert "Every leak is on the list of known ones." in text


def test_what_a_device_sends_never_reaches_the_terminal_as_it_is(watched: Watched) -> None:
    hostile = watched.watch.glimpse()
    hostile_line = "\x1b]0;title\x07\x1b[2J[bold]not markup[/bold]"
    hostile = msgspec.structs.replace(hostile, lines=(hostile_line,), news=())

    class Still:
        def glimpse(self) -> Glimpse:
            return hostile

    async def drive() -> str:
        app = WatchApp(Still(), "t")  # type: ignore[arg-type]
        async with app.run_test(size=(100, 34)) as pilot:
            await pilot.pause()
            return shown(app, "lines")

    text = asyncio.run(drive())

    assert "[bold]not markup[/bold]" in text
    assert all(character.isprintable() or character == "\n" for character in text)


def test_a_capture_that_can_not_be_written_ends_the_watch_with_its_sentence(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object, __: bytes) -> None:
        raise HeaptrailError("the disk is full", try_this="make room")

    monkeypatch.setattr(PartedCapture, "output", full)
    deadline = time.monotonic() + DEADLINE_S
    while watched.watch.glimpse().failed is None:
        assert time.monotonic() < deadline

    app = WatchApp(watched.watch, "t")

    async def drive() -> None:
        async with app.run_test() as pilot:
            await pilot.pause()

    asyncio.run(drive())
    assert str(watched.watch.glimpse().failed).startswith("the disk is full")


def test_without_its_package_the_command_says_how_to_get_it(heaptrail: Heaptrail, tmp_path: Path) -> None:
    (tmp_path / "textual").mkdir()
    (tmp_path / "textual" / "__init__.py").write_text("raise ModuleNotFoundError('no', name='textual')")
    done = heaptrail("watch", WORKLOAD)  # started with -c, so that the folder comes before the installed packages

    assert done.returncode == 2
    assert 'pip install "heaptrail[watch]"' in done.stderr
