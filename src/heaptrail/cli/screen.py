"""The live view's screen (textual). It draws a `Glimpse` twice a second and passes keys on; it knows nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, Static

from heaptrail.cli.curve import dotted_curve
from heaptrail.reports.untrusted import NAME_CHARACTERS, printable
from heaptrail.units import format_bytes, format_hours, format_rate, plural

if TYPE_CHECKING:
    from heaptrail.model.observations import Task
    from heaptrail.model.report import Report
    from heaptrail.procedures.watch import Glimpse, Watch

_DRAWN_EVERY_S = 0.5
_STYLES = {"leak": "bold red", "no_leak": "bold green", "inconclusive": "bold yellow"}
_GROWING = ("leak", "held_until_teardown")


class WatchApp(App[None]):
    """The screen over a running watch.

    Args:
        watch: Started.
        target: The console's name, for the title.
    """

    CSS = """
    #status { height: 1; background: $primary; color: $text; }
    #curve { height: 2fr; min-height: 6; border: round $primary; }
    #middle { height: 2fr; }
    #verdict { width: 3fr; height: 100%; border: round $primary; }
    #tasks { width: 2fr; height: 100%; border: round $primary; }
    #console { height: 1fr; min-height: 4; border: round $primary; }
    """
    BINDINGS: ClassVar = [
        ("a", "arm", "tracer on/off"),
        ("l", "blocks", "list live blocks"),
        ("c", "cycle", "a cycle ends"),
        ("f", "sample", "read the heap"),
        ("j", "judge", "judge now"),
        ("q", "quit", "quit"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, watch: Watch, target: str) -> None:
        super().__init__()
        self._watch = watch
        self._target = printable(target, NAME_CHARACTERS)

    def compose(self) -> ComposeResult:
        """The panes, from top to bottom."""
        yield Static(id="status")
        yield Static(id="curve")
        with Horizontal(id="middle"):
            yield Static(id="verdict")
            yield Static(id="tasks")
        with Vertical(id="console"):
            yield Static(id="lines")
        yield Footer()

    def on_mount(self) -> None:
        """Draw at once, then regularly."""
        for name, title in (("curve", "free heap"), ("verdict", "verdict so far"), ("tasks", "stack reserves")):
            self.query_one(f"#{name}").border_title = title
        self.query_one("#console").border_title = "console"
        self.draw()
        self.set_interval(_DRAWN_EVERY_S, self.draw)

    def draw(self) -> None:
        """Show what is known now; ends when the watch has ended."""
        glimpse = self._watch.glimpse()
        if glimpse.failed is not None:
            self.exit()
            return
        self.query_one("#status", Static).update(_status(glimpse, self._target))
        curve = self.query_one("#curve", Static)
        curve.update(_curve(glimpse, curve.content_size.width, curve.content_size.height))
        self.query_one("#verdict", Static).update(_verdict(glimpse))
        tasks = self.query_one("#tasks", Static)
        tasks.update(_tasks(glimpse.tasks, tasks.content_size.height))
        pane = self.query_one("#console")
        self.query_one("#lines", Static).update(_lines(glimpse, pane.content_size.height))

    def action_arm(self) -> None:
        """Key a."""
        self._watch.arm()

    def action_blocks(self) -> None:
        """Key l."""
        self._watch.list_blocks()

    def action_cycle(self) -> None:
        """Key c."""
        self._watch.mark_cycle()

    def action_sample(self) -> None:
        """Key f."""
        self._watch.sample()

    def action_judge(self) -> None:
        """Key j."""
        self._watch.look_now()


def _status(glimpse: Glimpse, target: str) -> Text:
    state = "listening" if glimpse.listening else "GONE, waiting"
    tracer = {None: "", True: " · tracer on", False: " · tracer off"}[glimpse.armed]
    parts = [
        f" {state}{tracer}",
        f"{format_hours(glimpse.elapsed_s / 3600)}",
        f"boot {glimpse.boots}, {plural(glimpse.cycles, 'cycle')}, {plural(glimpse.readings, 'reading')}",
        target,
    ]
    return Text(" · ".join(parts), no_wrap=True, overflow="ellipsis")


def _curve(glimpse: Glimpse, width: int, height: int) -> Text:
    if not glimpse.points or glimpse.latest is None or height < 2 or width < 10:
        return Text("no reading yet: press f, or let the device print its heap", style="dim")
    frees = [point.free_bytes for point in glimpse.points]
    lines = dotted_curve([(point.t_s, float(point.free_bytes)) for point in glimpse.points], width, height - 1)
    now = f"now {format_bytes(frees[-1])} · highest {format_bytes(max(frees))} · lowest {format_bytes(min(frees))}"
    largest = glimpse.latest.largest_free_bytes
    if largest is not None:
        now += f" · largest block {format_bytes(largest)}"
    return Text(f"{now}\n" + "\n".join(lines), no_wrap=True)


def _verdict(glimpse: Glimpse) -> Text:
    report = glimpse.report
    text = Text()
    if report is None:
        text.append(f"the first look comes after 24 readings, {glimpse.readings} so far; j judges now", style="dim")
        return text
    text.append(printable(report.headline), style=_STYLES[report.verdict])
    for line in _figures(report):
        text.append(f"\n{line}")
    growing = [finding for finding in report.findings if finding.finding_class in _GROWING]
    if growing:
        text.append("\ngrowing:", style="bold")
    for finding in growing:
        for site in finding.sites[:6]:
            name = printable(site.name or "a site without a name", NAME_CHARACTERS)
            per_cycle = "" if site.per_cycle_bytes is None else f", {format_rate(site.per_cycle_bytes)} B per cycle"
            known = " (known)" if finding.suppressed_by is not None else ""
            text.append(f"\n  {name}{known}: {plural(site.live_blocks, 'block')}{per_cycle}")
    for reason in report.reasons[:3] if report.verdict == "inconclusive" else ():
        text.append(f"\n- {printable(reason)}", style="dim")
    return text


def _figures(report: Report) -> list[str]:
    lines: list[str] = []
    for rate, unit in ((report.rate_bytes_per_cycle, "cycle"), (report.rate_bytes_per_hour, "hour")):
        if rate is not None and rate.estimate is not None:
            span = (
                f" ({format_rate(rate.low)} to {format_rate(rate.high)})"
                if rate.low is not None and rate.high is not None
                else ""
            )
            lines.append(f"loses {format_rate(rate.estimate)} B per {unit}{span}")
    left = report.exhaustion_hours
    if left is not None and left.estimate is not None:
        soonest = f", at the soonest {format_hours(left.low)}" if left.low is not None else ""
        lines.append(f"used up in {format_hours(left.estimate)}{soonest}")
    return lines


def _tasks(tasks: tuple[Task, ...], height: int) -> Text:
    text = Text(no_wrap=True)
    if not tasks:
        text.append("no task table seen", style="dim")
    for task in tasks[: max(height, 1)]:
        left, unit = task.stack_free_min_bytes, "B"
        if left is None:
            left, unit = task.stack_free_min_words, "words"
        style = "bold red" if left is not None and left < 64 else ""
        text.append(f"{printable(task.name, 20):<20} {'?' if left is None else f'{left:,}':>8} {unit}\n", style=style)
    return text


def _lines(glimpse: Glimpse, height: int) -> Text:
    shown = [(printable(line, 400), "dim") for line in glimpse.lines]
    shown += [(printable(line, 400), "yellow") for line in glimpse.news[-2:]]
    text = Text(no_wrap=True, overflow="ellipsis")
    for line, style in shown[-max(height, 1) :]:
        text.append(f"{line}\n", style=style)
    return text
