"""`heaptrail ram`: a report from RAM images, without a tracer in the firmware."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heaptrail.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heaptrail.model.verdict import JudgeSettings
    from heaptrail.procedures.workload import Ram
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.images import Image
    from heaptrail.ram.survey import Survey


Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IMAGE...",
        help="RAM images, oldest first: raw (IMAGE@0xBASE), Intel HEX, SREC, ELF core, or gdb:HOST:PORT. "
        "Parts of one moment are joined by commas.",
    ),
]
Elf = Annotated[
    Path | None, typer.Option("--elf", help="The ELF of the build that ran, not stripped.", show_default=False)
]
Terms = Annotated[
    Path | None,
    typer.Option(
        "--workload", help="A workload file: its [ram] table, and elf and gdb of [target].", show_default=False
    ),
]
Base = Annotated[str | None, typer.Option("--base", metavar="0xADDR", help="Address of a raw image's first byte.")]
Heap = Annotated[
    str | None,
    typer.Option(
        "--heap",
        metavar="WHERE",
        help="The heap's array, table of regions, or 0xSTART+0xSIZE,...",
        show_default="found by its symbols",
    ),
]
Layout = Annotated[
    str | None, typer.Option("--layout", help="The heap's layout, such as heap_4, tlsf, nuttx.", show_default="found")
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="WHAT", help="A variable or 0xSTART+0xSIZE that holds no real pointers."),
]
Root = Annotated[
    list[str] | None,
    typer.Option("--root", metavar="WHAT", help="A variable or 0xSTART+0xSIZE that holds pointers, at any byte."),
]
Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="0xADDR", help="A block that is in use though nothing shows it."),
]
Why = Annotated[
    list[str] | None,
    typer.Option("--why", metavar="0xADDR", help="Print what keeps this block alive, instead of the report."),
]
ListBlocks = Annotated[
    str | None,
    typer.Option("--list", metavar="STATE", help="Print unreachable, masked or all blocks instead of the report."),
]
CyclesApart = Annotated[
    int | None, typer.Option("--cycles-apart", min=1, help="Rounds of the workload between two images.")
]
CycleCounter = Annotated[
    str | None,
    typer.Option("--cycle-counter", metavar="NAME", help="The firmware's own counter of rounds, an integer."),
]
Watch = Annotated[int, typer.Option("--watch", metavar="N", min=1, help="Take N images from a gdb server.")]
Every = Annotated[float, typer.Option("--every", metavar="SECONDS", min=0, help="Between two images of --watch.")]
CycleAt = Annotated[
    str | None,
    typer.Option("--cycle-at", metavar="FUNCTION", help="Take each image of --watch when this function is called."),
]
AtFailure = Annotated[
    str | None,
    typer.Option(
        "--at-failure",
        metavar="FUNCTION",
        help="Take the image from a gdb server when an allocation fails and this is called (auto: a known hook).",
    ),
]
Wait = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=1, help="For --cycle-at and --at-failure, at most.")
]
Save = Annotated[
    Path | None,
    typer.Option("--save", metavar="FILE", help="Keep the images from a gdb server as core files.", show_default=False),
]


def ram_command(
    images: Images = None,
    *,
    elf: Elf = None,
    workload: Terms = None,
    base: Base = None,
    heap: Heap = None,
    layout: Layout = None,
    exclude: Exclude = None,
    root: Root = None,
    keep: Keep = None,
    why: Why = None,
    list_blocks: ListBlocks = None,
    cycles_apart: CyclesApart = None,
    cycle_counter: CycleCounter = None,
    watch: Watch = 1,
    every: Every = 10.0,
    cycle_at: CycleAt = None,
    at_failure: AtFailure = None,
    wait: Wait = 600.0,
    save: Save = None,
    output_format: options.Format = None,
    output: options.Output = None,
    tolerate: options.Tolerate = None,
    confidence: options.Confidence = None,
    allow_mismatch: options.AllowMismatch = False,
    suppressions: options.Suppressions = None,
) -> None:
    """Say from RAM images which blocks nothing points to, and which sizes grow from image to image."""
    from heaptrail.cli.output import check_targets, exit_status, load_known, with_known, write_report
    from heaptrail.limits import DEFAULT_LIMITS
    from heaptrail.postmortem import CycleRule, examine, report_on
    from heaptrail.procedures.reachability import question_of
    from heaptrail.ram.firmware import Firmware

    targets = check_targets(output_format, output)
    known = load_known(suppressions)
    addresses = [_address(text, "--why") for text in why or ()]
    states = _states(list_blocks)
    terms = _Terms(workload)
    elf = terms.elf(elf)
    firmware = Firmware(elf, DEFAULT_LIMITS)
    asked = terms.ram(heap=heap, layout=layout, roots=root, exclude=exclude, keep=keep)
    taking = _Taking(base, watch=watch, every_s=every, cycle_at=cycle_at, at_failure=at_failure, wait_s=wait, save=save)
    taken = taking.images(terms.images(images), firmware)
    rule = CycleRule(apart=cycles_apart or (1 if cycle_at else None), counter=cycle_counter)
    examined = examine(taken, firmware, question_of(asked, allow_mismatch=allow_mismatch), rule)
    told = _told(asked, elf, base, cycles_apart, cycle_counter)
    settings = _settings(tolerate, confidence)
    report = report_on(examined, firmware, settings, options=told, allow_mismatch=allow_mismatch)
    report = with_known(report, known, tolerate)
    if addresses or states:
        _answer(examined.surveys[-1], firmware, addresses, states)
    else:
        write_report(report, targets)
    raise typer.Exit(exit_status(report))


def _answer(found: Survey, firmware: Firmware, addresses: list[int], states: tuple[int, ...]) -> None:
    """What `--why` and `--list` print."""
    from heaptrail.ram.places import listing, why
    from heaptrail.reports.untrusted import printable
    from heaptrail.symbols import NoSymbols
    from heaptrail.symbols.lines import open_symbolizer

    traced = any(origin.frames for origin in found.origins)
    names = open_symbolizer(firmware.path) if addresses and traced else NoSymbols()
    lines = [line for address in addresses for line in why(found, firmware, address, names)]
    if states:
        lines += listing(found, firmware, states)
    # Names of variables are the ELF's, those of tasks the image's.
    sys.stdout.writelines(f"{printable(line)}\n" for line in lines)


class _Terms:
    """What the workload file says, where one was named; the command line goes before it."""

    def __init__(self, path: Path | None) -> None:
        from heaptrail.procedures.workload import load_workload

        self._workload = None if path is None else load_workload(path, console=False)

    def elf(self, given: Path | None) -> Path:
        """The ELF."""
        from heaptrail.errors import UsageError

        found = given or (self._workload.elf_path if self._workload is not None else None)
        if found is None:
            raise UsageError("no ELF is named", try_this="--elf, or elf in [target] of a file named with --workload")
        return found

    def images(self, given: list[str] | None) -> list[str]:
        """The images, else the gdb server."""
        from heaptrail.errors import UsageError

        server = self._workload.target.gdb if self._workload is not None else None
        if not given and server is None:
            raise UsageError("no image is named", try_this="an IMAGE, or gdb:HOST:PORT of a live target")
        return given or [f"gdb:{server}"]

    def ram(
        self,
        *,
        heap: str | None,
        layout: str | None,
        roots: list[str] | None,
        exclude: list[str] | None,
        keep: list[str] | None,
    ) -> Ram:
        """What is to be known of the memory: lists of both together."""
        from heaptrail.procedures.workload import Ram

        file = self._workload.ram if self._workload is not None else Ram()
        return Ram(
            heap=heap or file.heap,
            layout=layout or file.layout,
            roots=(*file.roots, *(roots or ())),
            exclude=(*file.exclude, *(exclude or ())),
            keep=(*file.keep, *(keep or ())),
        )


class _Taking:
    """How images are taken."""

    def __init__(
        self,
        base: str | None,
        *,
        watch: int,
        every_s: float,
        cycle_at: str | None,
        at_failure: str | None,
        wait_s: float,
        save: Path | None,
    ) -> None:
        from heaptrail.errors import UsageError

        if at_failure is not None and (cycle_at is not None or watch > 1):
            raise UsageError("--at-failure takes one image", try_this="it alone, without --watch and --cycle-at")
        self._base = None if base is None else _address(base, "--base")
        self._watch, self._every_s, self._cycle_at = watch, every_s, cycle_at
        self._at_failure, self._wait_s, self._save = at_failure, wait_s, save

    def images(self, specs: list[str], firmware: Firmware) -> Iterator[Image]:
        """Each image, oldest first."""
        from heaptrail.limits import DEFAULT_LIMITS
        from heaptrail.ram.images import read_image

        for spec in specs:
            if spec.startswith("gdb:"):
                yield from self._from_server(spec, firmware)
            else:
                yield read_image(spec, firmware, DEFAULT_LIMITS, base=self._base)

    def _from_server(self, spec: str, firmware: Firmware) -> Iterator[Image]:
        from heaptrail.cli.output import say
        from heaptrail.clock import SystemClock
        from heaptrail.ram.failure import failure_hook
        from heaptrail.ram.gdb import GdbTarget

        clock = SystemClock()
        hook = None if self._at_failure is None else failure_hook(firmware, self._at_failure)
        stop_at = hook or self._cycle_at
        with GdbTarget(spec, firmware, clock) as target:
            for index in range(self._watch):
                if stop_at is not None:
                    target.run_to(stop_at, wait_s=self._wait_s)
                elif index:
                    clock.sleep(self._every_s)
                image = target.image(index + 1)
                if hook is not None:
                    image = image.noted(f"taken when {hook} was called: an allocation had just failed")
                say(f"{image.name}: {image.notes[0]}")
                self._keep(image, firmware, index)
                yield image

    def _keep(self, image: Image, firmware: Firmware, index: int) -> None:
        """Write the image where the user wants it; of several, each under its number."""
        if self._save is None:
            return
        from heaptrail.cli.output import say
        from heaptrail.ram.corewriter import write_core

        path = self._save if self._watch == 1 else self._save.with_stem(f"{self._save.stem}-{index + 1}")
        write_core(path, image, firmware)
        say(f"wrote {path}")


def _address(text: str, option: str) -> int:
    from heaptrail.errors import UsageError

    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(f"{option} {text}: this is no address", try_this="an address such as 0x20001000") from None


def _states(name: str | None) -> tuple[int, ...]:
    from heaptrail.errors import UsageError
    from heaptrail.ram.reach import MASKED, REACHABLE, UNREACHABLE

    known = {"unreachable": (UNREACHABLE,), "masked": (MASKED,), "all": (UNREACHABLE, MASKED, REACHABLE)}
    if name is None:
        return ()
    if name not in known:
        raise UsageError(f"--list {name}: no such state", try_this=f"one of: {', '.join(known)}")
    return known[name]


def _settings(tolerate: float | None, confidence: float | None) -> JudgeSettings:
    from heaptrail.model.verdict import JudgeSettings

    plain = JudgeSettings()
    return JudgeSettings(tolerate_bytes_per_cycle=tolerate, confidence=confidence or plain.confidence)


def _told(
    asked: Ram, elf: Path, base: str | None, cycles_apart: int | None, cycle_counter: str | None
) -> dict[str, str]:
    """What must be given again to make this report again; folders are private."""
    named = {
        "--elf": elf.name,
        "--base": base,
        "--heap": asked.heap,
        "--layout": asked.layout,
        "--root": ", ".join(asked.roots) or None,
        "--exclude": ", ".join(asked.exclude) or None,
        "--keep": ", ".join(asked.keep) or None,
        "--cycles-apart": cycles_apart,
        "--cycle-counter": cycle_counter,
    }
    return {name: str(value) for name, value in sorted(named.items()) if value is not None}
