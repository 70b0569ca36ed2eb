"""`heaptrail trace`: a report from the agent's event stream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heaptrail.cli import options

if TYPE_CHECKING:
    from heaptrail.model.stream import Stream


def trace_command(
    stream: Annotated[
        Path, typer.Argument(metavar="FILE", help="What the agent's event stream sent; - is standard input.")
    ],
    *,
    elf: options.Elf = None,
    output_format: options.Format = None,
    output: options.Output = None,
    warmup_cycles: options.Warmup = None,
    confidence: options.Confidence = None,
    largest_single_loss: options.LargestLoss = None,
    wrapper: options.Wrapper = None,
    source_map: options.SourceMap = None,
    allow_mismatch: options.AllowMismatch = False,
) -> None:
    """Say from the history of every allocation and free what leaks, who allocates it, and who alone frees."""
    import platform

    from heaptrail.cli.output import EXIT_STATUS, check_targets, write_report
    from heaptrail.diagnose.history import diagnose_stream
    from heaptrail.interpret import Terms
    from heaptrail.symbols import NoSymbols, Symbolizer
    from heaptrail.version import __version__

    targets = check_targets(output_format, output)
    terms = Terms(warmup_cycles=warmup_cycles, confidence=confidence, largest_single_loss_bytes=largest_single_loss)
    symbolizer: Symbolizer = NoSymbols()
    if elf is not None:
        from heaptrail.symbols.lines import open_symbolizer

        symbolizer = open_symbolizer(elf, source_map=tuple(source_map or ()), extra_wrappers=tuple(wrapper or ()))
    settings = terms.settings(None)
    shown = {
        "--elf": elf.name if elf else None,
        "--confidence": settings.confidence,
        "--largest-single-loss": settings.largest_single_loss_bytes,
        "--warmup-cycles": settings.warmup_cycles,
        "--wrapper": ", ".join(wrapper or ()) or None,
        "--allow-mismatch": "yes" if allow_mismatch else None,
    }
    report = diagnose_stream(
        _decoded(stream),
        stream.name,
        symbolizer,
        settings,
        versions={"heaptrail": __version__, "python": platform.python_version()},
        options={name: str(value) for name, value in sorted(shown.items()) if value is not None},
        allow_mismatch=allow_mismatch,
    )
    write_report(report, targets)
    raise typer.Exit(EXIT_STATUS[report.verdict])


def _decoded(path: Path) -> Stream:
    """The stream of a file, read in pieces.

    Raises:
        UsageError: The file cannot be read.
        FormatError: Nothing in it is a frame.
    """
    import sys

    from heaptrail.errors import FormatError, UsageError
    from heaptrail.wire import VERSION, Decoder

    decoder = Decoder()
    try:
        with sys.stdin.buffer if path == Path("-") else path.open("rb") as source:
            while piece := source.read(1 << 20):
                decoder.feed(piece)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", try_this="the path of a recorded stream"
        ) from error
    decoded = decoder.stream()
    if decoded.counts.frames == 0:
        raise FormatError(
            f"{path.name} holds no frame of an event stream (version {VERSION}) in {decoded.counts.bytes_read:,} bytes",
            try_this="the bytes that ht_stream_take gave, unchanged; `heaptrail read` is for console logs",
        )
    return decoded
