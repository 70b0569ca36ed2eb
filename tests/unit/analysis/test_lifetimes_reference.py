"""Random programs whose own books are known: what is said of each site, against a count with plain lists."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from streams import Row, alloc, cycle, freed, stream

from heaptrail.analysis.lifetimes import judge_histories
from heaptrail.diagnose.history import diagnose_stream
from heaptrail.model.evidence import CaptureInfo
from heaptrail.model.report import Frame
from heaptrail.model.stream import Kind, MarkKind
from heaptrail.model.verdict import JudgeSettings
from heaptrail.symbols import FakeSymbolizer

START = Row(Kind.MARK, task=MarkKind.WORKLOAD_START)
STOP = Row(Kind.MARK, task=MarkKind.WORKLOAD_STOP)
SYMBOLS = FakeSymbolizer({0x1000 * n: (Frame(pc=0x1000 * n, kind="call", function=f"f{n}"),) for n in range(1, 20)})


class Site(NamedTuple):
    """What one piece of code does in each cycle.

    Args:
        keeps: Blocks that nobody frees while the workload runs.
        passes: Blocks that are freed `age` cycles later.
        torn_down: Of the kept ones, how many of the last are freed after the stop; -1 for all.
        freers: Numbers of the stacks that free in turn, 0 for a free without a stack.
        fills: Cycles in which blocks are kept at all; 0 for all of them.
    """

    keeps: int
    passes: int
    age: int
    torn_down: int
    freers: tuple[int, ...]
    fills: int


class Program(NamedTuple):
    sites: tuple[Site, ...]
    cycles: int
    sessions: int
    into_round: bool


SITES = st.builds(
    Site,
    keeps=st.integers(0, 2),
    passes=st.integers(0, 3),
    age=st.integers(0, 4),
    torn_down=st.sampled_from([0, 1, -1]),
    freers=st.lists(st.sampled_from([0, 11, 12, 13, 14, 15]), min_size=1, max_size=5).map(tuple),
    fills=st.sampled_from([0, 0, 3]),
)
PROGRAMS = st.builds(
    Program,
    sites=st.lists(SITES, min_size=1, max_size=4).map(tuple),
    cycles=st.integers(1, 40),
    sessions=st.integers(1, 3),
    into_round=st.booleans(),
)


class Played(NamedTuple):
    """The events, and the books: allocations up to the last stop, and who freed how many before and after stops."""

    rows: list[Row]
    allocated: Counter[int]
    freed_running: Counter[tuple[int, int]]
    freed_stopped: Counter[tuple[int, int]]


def play(program: Program) -> Played:
    """Each session: rounds, perhaps the beginning of another, the stop, the teardown."""
    played = Played([], Counter(), Counter(), Counter())
    fresh = iter(range(0x1000, 1 << 30, 16))
    done = 0
    for _ in range(program.sessions):
        played.rows.append(START)
        kept: list[list[int]] = [[] for _ in program.sites]
        due: list[tuple[int, int, int]] = []
        for round_ in range(program.cycles + program.into_round):
            for number, site in enumerate(program.sites, 1):
                for _ in range(site.keeps if not site.fills or done < site.fills else 0):
                    kept[number - 1].append(born(played, number, fresh))
                due += [(round_ + site.age, number, born(played, number, fresh)) for _ in range(site.passes)]
            for when, number, address in due:
                if when == round_:
                    free(program, played, number, address, played.freed_running)
            due = [each for each in due if each[0] > round_]
            if round_ < program.cycles:
                played.rows.append(cycle(done))
                done += 1
        played.rows.append(STOP)
        tear_down(program, played, [(number, address) for _, number, address in due], kept)
    return played


def tear_down(program: Program, played: Played, due: list[tuple[int, int]], kept: list[list[int]]) -> None:
    for number, (site, blocks) in enumerate(zip(program.sites, kept, strict=True), 1):
        last = blocks if site.torn_down < 0 else blocks[len(blocks) - site.torn_down :]
        due += [(number, address) for address in last]
    for number, address in due:
        free(program, played, number, address, played.freed_stopped)


def born(played: Played, number: int, fresh: object) -> int:
    address = next(fresh)  # type: ignore[call-overload]
    played.rows.append(alloc(address, number))
    played.allocated[number] += 1
    return int(address)


def free(program: Program, played: Played, number: int, address: int, books: Counter[tuple[int, int]]) -> None:
    freers = program.sites[number - 1].freers
    before = played.freed_running.total() + played.freed_stopped.total()
    freer = freers[before % len(freers)]
    played.rows.append(freed(address, freer))
    books[number, freer] += 1


@settings(max_examples=200, deadline=None)
@given(program=PROGRAMS, warmup=st.integers(0, 6))
def test_innocent_code_is_never_accused_and_a_leak_is_never_cleared(program: Program, warmup: int) -> None:
    played = play(program)

    judged = judge_histories(stream(played.rows), JudgeSettings(warmup_cycles=warmup))

    classes = {site.frames[0].pc // 0x1000: site.site_class for site in judged.verdict.sites}
    for number, site in enumerate(program.sites, 1):
        if not site.keeps or site.fills:
            assert classes.get(number) not in ("leak", "held_until_teardown"), (number, site)
    # What each of several sessions gives back in its teardown is no leak over all of them.
    leaks = (site for site in program.sites if program.sessions == 1 or not site.torn_down)
    if any(site.keeps and not site.fills for site in leaks):
        assert judged.verdict.verdict != "no_leak"


@settings(max_examples=200, deadline=None)
@given(program=PROGRAMS, warmup=st.integers(0, 6))
def test_a_leak_of_every_cycle_is_found_at_its_rate_when_the_run_is_long_enough(program: Program, warmup: int) -> None:
    played = play(program._replace(sessions=1))
    stay = [(n, site) for n, site in enumerate(program.sites, 1) if site.keeps and not site.fills]

    judged = judge_histories(stream(played.rows), JudgeSettings(warmup_cycles=warmup))

    found = {site.frames[0].pc // 0x1000: site for site in judged.verdict.sites}
    for number, site in stay:
        if program.cycles - warmup - site.age < 10:
            continue
        expected = "held_until_teardown" if site.torn_down < 0 else "leak"
        assert (number, found[number].site_class) == (number, expected)
        per_cycle = found[number].per_cycle_blocks
        assert per_cycle is not None
        assert abs(per_cycle - site.keeps) <= 0.15 * site.keeps


@settings(max_examples=200, deadline=None)
@given(program=PROGRAMS)
def test_the_cause_sentence_says_what_the_books_say(program: Program) -> None:
    played = play(program)
    capture = CaptureInfo(name="s", format="stream", bytes_read=0, lines=0)
    told = stream(played.rows)

    report = diagnose_stream(told, (capture,), SYMBOLS, JudgeSettings(), versions={}, options={})

    for finding in report.findings:
        for sentence in finding.evidence:
            match = re.search(r"Allocated(.*?) in f(\d+)(.*)$", sentence)
            if match is not None:
                check_sentence(program, played, int(match[2]), match[1], match[3])


def check_sentence(program: Program, played: Played, number: int, rhythm: str, freers: str) -> None:
    site = program.sites[number - 1]
    rounds = program.sessions * program.cycles
    running = {freer: n for (who, freer), n in played.freed_running.items() if who == number}
    stopped = {freer: n for (who, freer), n in played.freed_stopped.items() if who == number}
    books = Counter(running) + Counter(stopped)
    every = re.match(r" ([\d.]+) per cycle", rhythm)
    assert every is not None
    assert abs(float(every[1]) - played.allocated[number] / rounds) <= 0.2 + 0.2 * site.keeps
    assert ("never freed" in freers) == (not books)
    assert ("ran once" in freers) == (books.total() == 1 and 0 not in books)
    assert ("freed only by" in freers) == (len(books) == 1 and 0 not in books)
    if "always after the stop" in freers:
        assert not running
    named = [int(each) for each in re.findall(r"\bf(\d+)\b", freers)]
    assert len(named) == min(3, len(books.keys() - {0}))
    assert set(named) <= books.keys()
    for who, blocks in re.findall(r"f(\d+) \((\d+) block", freers):
        assert books[int(who)] == int(blocks)
    assert ("without a backtrace" in freers) == (0 in books)
