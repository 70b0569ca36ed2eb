"""`heaptrail soak`: run the workload until a claim is proven or refuted."""

from __future__ import annotations

import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import msgspec
import typer

from heaptrail.cli import options
from heaptrail.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from concurrent.futures import Future

    from heaptrail.interpret import Interpretation
    from heaptrail.model.report import Report
    from heaptrail.model.verdict import JudgeSettings
    from heaptrail.procedures.claim import Claim, Look
    from heaptrail.procedures.soak import SoakOutcome
    from heaptrail.procedures.workload import Workload

_STDOUT = Path("-")


Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="CLAIM",
        help='What to prove, such as "rate < 10 B/cycle" or "2 KB/hour".',
        show_default="the workload file's tolerance, or idle free heap / 3000 per cycle",
    ),
]
Longest = Annotated[str, typer.Option("--for", metavar="TIME", help="Stop then in any case: 90s, 30m, 10h, 3d.")]
Capture = Annotated[
    Path, typer.Option("--capture", help="Name of the recording; its parts get numbers: soak.0001.cast, …")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the recording that is there (or begin, where there is none).")
]
PartMb = Annotated[
    float, typer.Option("--part-mb", min=0.01, help="Size at which a part of the recording is compressed.")
]
Tracer = Annotated[
    bool, typer.Option("--tracer/--no-tracer", help="Trace, so that sites are named; or measure as shipped.")
]
Baseline = Annotated[
    Path | None,
    typer.Option("--baseline", metavar="REPORT.json", help="An earlier report to compare with.", show_default=False),
]
Junit = Annotated[
    Path | None,
    typer.Option("--junit", metavar="FILE", help="Write JUnit XML for a CI server.", show_default=False),
]
Console = Annotated[
    str | None, typer.Option("--console", help="Another console than the workload file's.", show_default=False)
]


def soak_command(
    workload_file: Annotated[
        Path, typer.Argument(metavar="WORKLOAD", help="The workload file (`heaptrail init` writes one).")
    ] = Path("heaptrail.toml"),
    *,
    until: Until = None,
    confidence: options.Confidence = None,
    largest_single_loss: options.LargestLoss = None,
    longest: Longest = "24h",
    capture: Capture = Path("soak.cast"),
    resume: Resume = False,
    part_mb: PartMb = 16.0,
    tracer: Tracer = True,
    baseline: Baseline = None,
    junit: Junit = None,
    console: Console = None,
    elf: options.Elf = None,
    output_format: options.Format = None,
    output: options.Output = None,
    allow_mismatch: options.AllowMismatch = False,
    suppressions: options.Suppressions = None,
) -> None:
    """Run the workload until it is proven, or refuted, that it loses less than a limit."""
    from heaptrail.cli.device import interpretation_of, overridden
    from heaptrail.cli.output import check_targets, load_known, with_known, write_report
    from heaptrail.procedures.claim import parse_claim
    from heaptrail.procedures.workload import load_workload

    workload = overridden(load_workload(workload_file), console, elf)
    claim = parse_claim(until, _terms(workload, confidence, largest_single_loss))
    targets = check_targets(output_format, output or [_STDOUT, *workload.output_paths])
    if junit is not None:
        targets.append(("junit", junit))
    earlier = _earlier(baseline)
    known = load_known(suppressions)
    interpretation = interpretation_of(workload, allow_mismatch=allow_mismatch)
    run = _Run(workload, claim, capture, interpretation, part_bytes=int(part_mb * (1 << 20)))
    outcome = run.go(longest_s=options.seconds_of(longest), resume=resume, traced=tracer)
    if outcome.error is not None and run.forget_if_empty():
        raise outcome.error
    _tell(outcome, capture)
    report, tolerance = run.report()
    report = with_known(report, known, tolerance)
    write_report(report, targets)
    plain = next((name for name, path in targets if path == _STDOUT), "terminal") == "terminal"
    _conclude(report, claim, tolerance, earlier, to=sys.stdout if plain else sys.stderr)
    raise typer.Exit(_status(outcome, report))


class _Run:
    """One soak: its recording, the thread that reads and compresses beside it, and the report at the end."""

    def __init__(
        self, workload: Workload, claim: Claim, capture: Path, interpretation: Interpretation, *, part_bytes: int
    ) -> None:
        self._workload = workload
        self._claim = claim
        self._base = capture
        self._interpretation = interpretation
        self._part_bytes = part_bytes
        self._aside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heaptrail-look")

    def go(self, *, longest_s: float, resume: bool, traced: bool) -> SoakOutcome:
        """Drive the device; a run that is settled already is not driven again."""
        from heaptrail.cli.device import header_and_commands
        from heaptrail.cli.progress import soak_progress
        from heaptrail.cli.recording import recording, resumption_of
        from heaptrail.clock import SystemClock
        from heaptrail.procedures.soak import SoakOutcome, soak
        from heaptrail.procedures.target import transport_for

        header, commands = header_and_commands(self._workload, self._interpretation)
        header = msgspec.structs.replace(header, judge=self._claim.settings, run=uuid.uuid4().hex)
        transport = transport_for(self._workload)
        clock = SystemClock()
        earlier = None
        resumption = resumption_of(self._base, header) if resume else None
        if resumption is not None:
            earlier = self._look()
            longest_s -= resumption.used_s
            if earlier.state != "open":
                return SoakOutcome(state=earlier.state, look=earlier, cycles=earlier.cycles)
        writer = recording(
            *(self._base, header, clock, self._aside), resumption=resumption, part_bytes=self._part_bytes
        )
        with soak_progress() as progress:
            outcome = soak(
                self._workload,
                commands,
                transport,
                writer,
                claim=self._claim,
                look=self._begin_look,
                clock=clock,
                longest_s=longest_s,
                resumed=earlier,
                traced=traced,
                progress=progress,
                news=_news,
            )
        self._aside.shutdown()
        return outcome

    def forget_if_empty(self) -> bool:
        """Remove a recording that holds nothing but its head, as of a console that is not there; whether it did."""
        from heaptrail.parts import parts_of

        parts = list(parts_of(self._base).values())
        if len(parts) != 1 or parts[0].suffix == ".gz" or parts[0].read_bytes().count(b"\n") > 1:
            return False
        parts[0].unlink()
        return True

    def report(self) -> tuple[Report, float | None]:
        """The report on all parts, and the claim in bytes per cycle where that is known."""
        from heaptrail.interpret import Terms, interpret
        from heaptrail.parts import parts_of
        from heaptrail.reading import ReadOptions

        settings = self._claim.settings
        tolerance = settings.tolerate_bytes_per_cycle
        if tolerance is None and self._claim.bytes_per_unit is not None:
            tolerance = self._look().tolerance
        terms = Terms(
            tolerate_bytes_per_cycle=tolerance,
            confidence=settings.confidence,
            largest_single_loss_bytes=settings.largest_single_loss_bytes,
            warmup_cycles=settings.warmup_cycles,
        )
        interpretation = msgspec.structs.replace(self._interpretation, terms=terms)
        return interpret(list(parts_of(self._base).values()), ReadOptions(), interpretation), tolerance

    def _begin_look(self) -> Future[Look]:
        return self._aside.submit(self._look)

    def _look(self) -> Look:
        from heaptrail.parts import parts_of
        from heaptrail.procedures.claim import take_look

        symbolizer = None
        if self._claim.settings.capacity:
            from heaptrail.interpret import symbolizer_of

            symbolizer = symbolizer_of(self._interpretation)
        return take_look(list(parts_of(self._base).values()), self._claim, symbolizer)


def _terms(workload: Workload, confidence: float | None, largest_single_loss: int | None) -> JudgeSettings:
    settings = workload.judge_settings()
    if confidence is not None:
        settings = msgspec.structs.replace(settings, confidence=confidence)
    if largest_single_loss is not None:
        settings = msgspec.structs.replace(settings, largest_single_loss_bytes=largest_single_loss)
    return settings


def _news(text: str) -> None:
    from heaptrail.cli.output import say

    say(f"{time.strftime('%H:%M:%S')} {text}")


def _tell(outcome: SoakOutcome, capture: Path) -> None:
    """What was not as planned, on standard error."""
    from heaptrail.cli.output import say, say_error
    from heaptrail.parts import parts_of
    from heaptrail.units import plural

    for note in outcome.notes:
        say(f"note: {note}")
    parts = list(parts_of(capture).values())
    if parts:
        more = f" and {plural(len(parts) - 1, 'part')} before it" if len(parts) > 1 else ""
        say(f"recorded {parts[-1]}{more}")
    if outcome.error is not None:
        say_error(outcome.error)
    elif outcome.interrupted:
        sys.stderr.write("heaptrail: interrupted; --resume goes on with this run\n")
    elif outcome.time_over:
        sys.stderr.write("the time given with --for is over\n")


def _earlier(baseline: Path | None) -> Report | None:
    if baseline is None:
        return None
    from heaptrail.errors import UsageError
    from heaptrail.reports.jsonfile import load_report

    try:
        return load_report(baseline.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{baseline} cannot be read: {error.strerror}", try_this="a report that --output FILE.json wrote"
        ) from error


def _conclude(report: Report, claim: Claim, tolerance: float | None, earlier: Report | None, *, to: TextIO) -> None:
    """The comparison with the earlier run, and the sentence that may be quoted, last."""
    from heaptrail.compare import compare
    from heaptrail.procedures.claim import claim_sentence

    if earlier is not None:
        comparison = compare(earlier, report)
        lines = [
            f"Compared with the baseline: {comparison.headline}",
            *(f"  {reason}" for reason in comparison.reasons),
        ]
        to.write("".join(f"{line}\n" for line in lines))
    _, sentence = claim_sentence(report, claim, tolerance=tolerance)
    to.write(f"{sentence}\n")
    to.flush()


def _status(outcome: SoakOutcome, report: Report) -> int:
    from heaptrail.cli.output import exit_status

    if outcome.interrupted:
        return EXIT_INTERRUPTED
    if outcome.error is not None:
        return outcome.error.exit_status
    return exit_status(report)
