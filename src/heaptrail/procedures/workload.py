"""The workload file, `heaptrail.toml`: which console, what to do on it, and the terms for a verdict.

The records say what each key means and what it is when left out. Unknown keys are refused, since a key that is
misspelt and ignored costs a night of soaking. Relative paths refer to the file's folder.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from heaptrail.errors import UsageError
from heaptrail.model.verdict import Capacity, JudgeSettings

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e7)]
Cycles = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]

LINE_ENDS = {"cr": "\r", "lf": "\n", "crlf": "\r\n"}

MAX_FILE_BYTES = 1 << 20
NO_CONSOLE = "none"
"""What stands for the console where none is needed."""


class Regex(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[target.regex]`: the firmware's own heap lines; `pattern` has named groups (`free`, `min_free`, `t_s`, …)."""

    pattern: str


class Csv(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[target.csv]`: the firmware's own table; `columns` names what stands in each, `-` where that says nothing."""

    columns: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class Commands(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[target.commands]`: what to type instead of the dialect's own commands, where the firmware has others.

    Args:
        sample: Prints the heap's totals.
        arm: Starts recording allocations; left out where the allocator always records.
        peek: Prints the live blocks and goes on recording.
        collect: Prints the live blocks, and stops recording where there is `arm`.
    """

    sample: str | None = None
    arm: str | None = None
    peek: str | None = None
    collect: str | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[target]`: the device and its image.

    Args:
        console: `/dev/ttyUSB0`, `socket://host:port`, `rfc2217://host:port`, `exec:./prog args`, `replay:file.cast`.
        baud: Speed of a serial port.
        elf: The image with debug information, None to record without names.
        dialect: Name of the RTOS's console (`heaptrail list dialects`), or `auto`.
        prompt: Regular expression of the whole prompt; None takes what the console shows after Enter.
        newline: What Enter sends: `cr`, `lf` or `crlf`.
        char_delay_s: Pause after each character sent, for consoles that lose them.
        answer_timeout_s: How long a prompt may take.
        wrappers: Functions that only pass on to an allocator; they never name a site.
        source_map: Folder names in the ELF, and where those sources are on this machine.
        commands: What to type instead of the dialect's own commands.
        regex, csv: What the firmware's own heap lines mean, besides those of its RTOS.
        gdb: `HOST:PORT` of a gdb server on the same device; a hunt then takes a RAM image at its end and says which of
            its blocks nothing points to.
    """

    console: str
    baud: Annotated[int, msgspec.Meta(ge=50, le=50_000_000)] = 115_200
    elf: str | None = None
    dialect: str = "auto"
    prompt: str | None = None
    newline: Literal["cr", "lf", "crlf"] = "cr"
    char_delay_s: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.0
    answer_timeout_s: Positive = 10.0
    wrappers: tuple[str, ...] = ()
    source_map: dict[str, str] = {}
    commands: Commands | None = None
    regex: Regex | None = None
    csv: Csv | None = None
    gdb: str | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing to do on the console, in the order of the fields.

    Args:
        send: Text to type; Enter follows unless `enter` is false. It may hold control characters.
        expect: Regular expression of what must then appear; None goes on when the line is quiet.
        sleep_s: Pause after that.
        timeout_s: How long `expect` may take.
        enter: Whether Enter follows `send`.
    """

    send: str | None = None
    expect: str | None = None
    sleep_s: Annotated[float, msgspec.Meta(ge=0, le=1e6)] | None = None
    timeout_s: Positive = 10.0
    enter: bool = True


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[workload]`: what is repeated, how often, and how its end is told.

    Args:
        start: Steps that start the workload.
        cycle: Steps of one round; empty where the firmware goes round by itself and `cycle_mark` tells.
        stop: Steps that stop it, so that its memory is given back.
        warmup_cycles: Rounds in which caches may still fill; they prove nothing.
        measured_cycles: Rounds with the tracer off, from which the rate of the loss is taken.
        traced_cycles: Rounds with the tracer on, from which the sites are taken.
        sample_every_cycles: Rounds between two readings of `free`.
        cycle_timeout_s: How long one round may take.
        cycle_mark: Regular expression of the firmware's own line that ends a round.
        boot_mark: Regular expression of the firmware's own line that follows a reset.
    """

    start: tuple[Step, ...] = ()
    cycle: tuple[Step, ...] = ()
    stop: tuple[Step, ...] = ()
    warmup_cycles: Cycles = 5
    measured_cycles: Cycles = 15
    traced_cycles: Cycles = 15
    sample_every_cycles: Annotated[int, msgspec.Meta(ge=1)] = 1
    cycle_timeout_s: Positive = 600.0
    cycle_mark: str | None = None
    boot_mark: str | None = None


class Judge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[judge]`: the terms of the verdict; see `heaptrail.model.verdict.JudgeSettings`, whose defaults hold."""

    tolerate_bytes_per_cycle: Annotated[float, msgspec.Meta(ge=0)] | None = None
    tolerate_bytes_per_hour: Annotated[float, msgspec.Meta(ge=0)] | None = None
    confidence: Annotated[float, msgspec.Meta(gt=0.5, lt=1)] = JudgeSettings().confidence
    largest_single_loss_bytes: Annotated[int, msgspec.Meta(ge=1)] = JudgeSettings().largest_single_loss_bytes
    capacity: tuple[Capacity, ...] = ()
    largest_request_bytes: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Ram(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[ram]`: what `heaptrail ram`, and a hunt with a gdb server, must know of the firmware's memory.

    Args:
        heap, layout: As `--heap` and `--layout`; None to find them.
        roots: Variables (`*` for any letters) and `0xSTART+0xSIZE` ranges that hold pointers although heaptrail would
            not scan them, or holds them at any byte, as a packed struct does.
        exclude: Variables and ranges that hold no pointers, such as a tracer's table.
        keep: Addresses of blocks, as `0x20001000`, that are in use though nothing shows it.
    """

    heap: str | None = None
    layout: str | None = None
    roots: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


class Outputs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[report]`: files to write, each in the format of its suffix (`heaptrail list reports`)."""

    outputs: tuple[str, ...] = ()


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A workload file. `folder` is where relative paths refer to; it is no key of the file."""

    target: Target
    workload: Plan = Plan()
    judge: Judge = Judge()
    report: Outputs = Outputs()
    ram: Ram = Ram()
    folder: Path = Path()

    @property
    def elf_path(self) -> Path | None:
        """The image's path, None where none is named."""
        return None if self.target.elf is None else self.folder / Path(self.target.elf).expanduser()

    @property
    def output_paths(self) -> tuple[Path, ...]:
        """The report files' paths."""
        return tuple(self.folder / Path(name).expanduser() for name in self.report.outputs)

    def judge_settings(self) -> JudgeSettings:
        """The terms of the verdict, the warm-up included."""
        return JudgeSettings(
            tolerate_bytes_per_cycle=self.judge.tolerate_bytes_per_cycle,
            tolerate_bytes_per_hour=self.judge.tolerate_bytes_per_hour,
            confidence=self.judge.confidence,
            largest_single_loss_bytes=self.judge.largest_single_loss_bytes,
            warmup_cycles=self.workload.warmup_cycles,
            capacity=self.judge.capacity,
            largest_request_bytes=self.judge.largest_request_bytes,
        )


def load_workload(path: Path, *, console: bool = True) -> Workload:
    """Read and check a workload file; without `console` it may do without one, as a post-mortem has none.

    Raises:
        UsageError: It cannot be read, is no TOML, or a key or value in it is not as it must be; the sentence names the
            key and, where it can be found, the line.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", try_this="heaptrail init writes a file to start from"
        ) from error
    if len(raw) > MAX_FILE_BYTES:
        raise UsageError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes", try_this="name a workload file")
    try:
        text = raw.decode("utf-8")
        fields = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 at byte {error.start}", try_this="save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}", try_this="strings stand in quotes, tables in [ ]") from error
    if not console and isinstance(target := fields.setdefault("target", {}), dict):
        target.setdefault("console", NO_CONSOLE)
        fields.setdefault("workload", {"measured_cycles": 0, "traced_cycles": 0})
    return parse_workload(fields, text=text, name=str(path), folder=path.parent)


def parse_workload(fields: dict[str, Any], *, text: str = "", name: str = "the workload", folder: Path) -> Workload:
    """Check the content of a workload file; `text` serves to find line numbers. Raises as `load_workload`."""
    where = _Where(name, text)
    _refuse_unknown(fields, Workload, (), where)
    if not fields.get("target"):
        raise UsageError(f"{name} has no table [target]", try_this='begin with: [target] console = "/dev/ttyUSB0"')
    try:
        loaded = msgspec.convert(fields, Workload)
    except msgspec.ValidationError as error:
        message, _, at = str(error).partition(" - at `$")
        keys = tuple(key for key in re.split(r"[.\[\]]+", at.rstrip("`")) if key)
        raise UsageError(
            f"{where.of(keys)}: {message[:1].lower()}{message[1:]}",
            try_this="correct the value; the file's comments say what fits",
        ) from error
    _check_meaning(loaded, where)
    return msgspec.structs.replace(loaded, folder=folder)


class _Where:
    """Names places in the file."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._lines = text.splitlines()

    def of(self, keys: tuple[str, ...]) -> str:
        """`heaptrail.toml line 4, [target] baud`; the line is left out where it cannot be told."""
        number = self._line_of(keys)
        line = f" line {number}" if number else ""
        table, rest = keys[:1], [key for key in keys[1:] if not key.isdigit()]
        what = "step" if keys[:1] == ("workload",) else "entry"
        position = next((f" ({what} {int(key) + 1})" for key in keys if key.isdigit()), "")
        return f"{self._name}{line}, {' '.join([f'[{table[0]}]' if table else 'top', *rest])}{position}"

    def _line_of(self, keys: tuple[str, ...]) -> int | None:
        """The first line in the right table that sets the innermost key."""
        names = [key for key in keys if not key.isdigit()]
        if not names:
            return None
        table = ""
        wanted = re.compile(rf"""(?:^|[{{,.\s])["']?{re.escape(names[-1])}["']?\s*=""")
        for number, line in enumerate(self._lines, start=1):
            header = re.match(r"\s*\[+\s*([^\]]*?)\s*\]", line)
            if header and "=" not in line:
                table = header[1]
                if len(names) == 1 and table.split(".")[0] == names[0]:
                    return number
            elif table.split(".")[0] == (names[0] if len(names) > 1 else "") and wanted.search(line.split("#")[0]):
                return number
        return None


def _refuse_unknown(value: object, record: object, keys: tuple[str, ...], where: _Where) -> None:
    """Walk the file beside the records and refuse the first key that none of them has."""
    if isinstance(value, list) and get_origin(record) is tuple:
        for index, item in enumerate(value):
            _refuse_unknown(item, get_args(record)[0], (*keys, str(index)), where)
    if not isinstance(value, dict) or not (isinstance(record, type) and issubclass(record, msgspec.Struct)):
        return
    known = {field: kind for field, kind in get_type_hints(record).items() if field != "folder"}
    for key, inner in value.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            raise UsageError(
                f"{where.of((*keys, key))}: there is no such key",
                try_this=f"{near[0]}, the nearest key that there is" if near else f"one of: {', '.join(known)}",
            )
        _refuse_unknown(inner, known[key], (*keys, key), where)


def _check_meaning(loaded: Workload, where: _Where) -> None:
    """What types cannot say: expressions that compile, steps that do something, cycles that end."""
    plan = loaded.workload
    _check_capacities(loaded.judge.capacity, where)
    _check_pattern(loaded.target.prompt, ("target", "prompt"), where)
    _check_pattern(plan.cycle_mark, ("workload", "cycle_mark"), where)
    _check_pattern(plan.boot_mark, ("workload", "boot_mark"), where)
    for table, steps in (("start", plan.start), ("cycle", plan.cycle), ("stop", plan.stop)):
        for index, step in enumerate(steps):
            keys = ("workload", table, str(index))
            _check_pattern(step.expect, (*keys, "expect"), where)
            if step.send is None and step.expect is None and step.sleep_s is None:
                raise UsageError(f"{where.of(keys)}: the step does nothing", try_this="send, expect or sleep_s")
    if plan.cycle_mark is None and not plan.cycle and plan.measured_cycles + plan.traced_cycles:
        raise UsageError(
            f"{where.of(('workload',))}: neither cycle nor cycle_mark tells what a round is",
            try_this="cycle_mark = a regular expression of the line that ends a round, or cycle = steps of one",
        )


def _check_capacities(capacities: tuple[Capacity, ...], where: _Where) -> None:
    for index, capacity in enumerate(capacities):
        keys = ("judge", "capacity", str(index))
        if capacity.max_blocks is None and capacity.max_bytes is None:
            raise UsageError(f"{where.of(keys)}: no maximum is given", try_this="max_blocks = 32, or max_bytes = 4096")
        if not capacity.site.strip("^$* "):
            raise UsageError(f"{where.of(keys)}: the pattern fits every site", try_this="a part of a function's name")


def _check_pattern(pattern: str | None, keys: tuple[str, ...], where: _Where) -> None:
    if pattern is None:
        return
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(
            f"{where.of(keys)}: {pattern!r} is not a regular expression: {error}",
            try_this=r"put a backslash before characters such as ( [ * + ? that are meant as they are",
        ) from error
    if compiled.match(""):
        raise UsageError(
            f"{where.of(keys)}: {pattern!r} matches an empty line, so it would match everywhere",
            try_this="write down a part that is always there",
        )
