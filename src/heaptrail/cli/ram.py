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
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.images import Image
    from heaptrail.ram.survey import Survey


Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...",
        help="RAM images, oldest first: raw (IMAGE@0xBASE), Intel HEX, SREC, ELF core, or gdb:HOST:PORT. "
        "Parts of one moment are joined by commas.",
    ),
]
Elf = Annotated[Path, typer.Option("--elf", help="The ELF of the build that ran, not stripped.")]
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


def ram_command(
    images: Images,
    *,
    elf: Elf,
    base: Base = None,
    heap: Heap = None,
    layout: Layout = None,
    exclude: Exclude = None,
    keep: Keep = None,
    why: Why = None,
    list_blocks: ListBlocks = None,
    cycles_apart: CyclesApart = None,
    cycle_counter: CycleCounter = None,
    watch: Watch = 1,
    every: Every = 10.0,
    cycle_at: CycleAt = None,
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
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.survey import Question

    targets = check_targets(output_format, output)
    known = load_known(suppressions)
    addresses = [_address(text, "--why") for text in why or ()]
    states = _states(list_blocks)
    firmware = Firmware(elf, DEFAULT_LIMITS)
    question = Question(
        heap=heap,
        layout=layout,
        exclude=tuple(exclude or ()),
        keep=tuple(_address(text, "--keep") for text in keep or ()),
        allow_mismatch=allow_mismatch,
    )
    taken = _images(images, firmware, base, watch=watch, every_s=every, cycle_at=cycle_at)
    rule = CycleRule(apart=cycles_apart or (1 if cycle_at else None), counter=cycle_counter)
    examined = examine(taken, firmware, question, rule)
    told = _told(
        {
            "--elf": elf.name,
            "--base": base,
            "--heap": heap,
            "--layout": layout,
            "--exclude": ", ".join(exclude or ()) or None,
            "--keep": ", ".join(keep or ()) or None,
            "--cycles-apart": cycles_apart,
            "--cycle-counter": cycle_counter,
        }
    )
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

    for address in addresses:
        sys.stdout.write("\n".join(why(found, firmware, address)) + "\n")
    if states:
        sys.stdout.write("\n".join(listing(found, firmware, states)) + "\n")


def _images(
    specs: list[str], firmware: Firmware, base: str | None, *, watch: int, every_s: float, cycle_at: str | None
) -> Iterator[Image]:
    from heaptrail.limits import DEFAULT_LIMITS
    from heaptrail.ram.images import read_image

    address = None if base is None else _address(base, "--base")
    for spec in specs:
        if spec.startswith("gdb:"):
            yield from _from_server(spec, firmware, watch=watch, every_s=every_s, cycle_at=cycle_at)
        else:
            yield read_image(spec, firmware, DEFAULT_LIMITS, base=address)


def _from_server(spec: str, firmware: Firmware, *, watch: int, every_s: float, cycle_at: str | None) -> Iterator[Image]:
    from heaptrail.clock import SystemClock
    from heaptrail.ram.gdb import GdbTarget

    clock = SystemClock()
    with GdbTarget(spec, firmware, clock) as target:
        for index in range(watch):
            if cycle_at is not None:
                target.run_to(cycle_at)
            elif index:
                clock.sleep(every_s)
            image = target.image(index + 1)
            sys.stderr.write(f"{image.name}: {image.notes[0]}\n")
            yield image


def _address(text: str, option: str) -> int:
    from heaptrail.errors import UsageError

    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(f"{option} {text}: no address", try_this="an address such as 0x20001000") from None


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


def _told(named: dict[str, str | int | None]) -> dict[str, str]:
    """What must be given again to make this report again; folders are private."""
    return {name: str(value) for name, value in sorted(named.items()) if value is not None}
