"""Random mallocs, frees, moves, failures, filters, pauses and interrupts: the agent says what the plain reference says.

Built under the sanitizers, once with the fast paths and once without. Every lock that is taken is given back after each
operation, which the driver checks.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from agent.reference import WORD, Agent, Operation
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptrail.model.stream import Kind
from heaptrail.wire import decode

pytestmark = pytest.mark.sanitizer
HERE = Path(__file__).resolve().parent
AGENT = HERE.parents[1] / "agent"
ADDRESSES = [0, *(0x1000 + 0x40 * i for i in range(14))]
SIZES = [0, 1, 24, 0xF00, WORD + 5]
TABLES = ("-DHT_RECORDS=8", "-DHT_SITES=6", "-DHT_STACKS=7", "-DHT_FRAMES=16", "-DHT_DEPTH=4", "-DHT_STREAM=1")


@pytest.fixture(scope="module", params=["-O1", "-Os"], ids=["fast", "small"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (apt-get install gcc)")
    target = tmp_path_factory.mktemp("model") / "model"
    flags = ("-std=c11", "-g", request.param, "-Wall", "-Wextra", "-Werror", *TABLES)
    sources = (HERE / "model.c", *sorted((AGENT / "src").glob("ht_wire*.c")))
    command = (compiler, *flags, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    words = [str(word) for word in (*command, f"-I{AGENT / 'include'}", *sources, "-o", target)]
    built = subprocess.run(words, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return target


def operations() -> st.SearchStrategy[list[Operation]]:
    # Few stacks and callers come often: the usual cases must meet, and so must records of one home.
    address, stack = (
        st.sampled_from(ADDRESSES),
        st.sampled_from([3, 3, 3, 3, 4, 4, 0, 1, 2, 7, 8, 9, 12, 13, 14, 18, 19]),
    )
    task = st.sampled_from([1, 1, 1, 2, 0, 3, 4, 5])
    malloc = st.tuples(address, st.sampled_from(SIZES), st.sampled_from([0, 8, 254, 255]), stack, task)
    realloc = st.tuples(address, address, st.sampled_from(SIZES), stack, task)
    free = st.tuples(address, st.sampled_from([1, 1, 1, 2, 3]), stack, task, st.just(0))
    nothing = st.just((0, 0, 0, 0, 0))
    begin = st.tuples(st.sampled_from([0, 0, 1, 3, 12]), st.sampled_from([0, WORD - 4]), *[st.just(0)] * 3)
    now, interrupting = st.sampled_from([False]), st.sampled_from([True])
    hooks = {"m": malloc, "r": realloc, "f": free}
    common = [st.builds(Operation, st.just(kind), values, now) for kind, values in hooks.items()]
    seldom = [
        st.builds(Operation, st.just("s"), begin, now),
        st.builds(Operation, st.sampled_from("puxcb"), nothing, now),
        *(st.builds(Operation, st.just(kind), values, interrupting) for kind, values in hooks.items()),
        st.builds(Operation, st.sampled_from("pu"), nothing, interrupting),
    ]
    one = st.one_of(*common, *common, *common, *seldom)
    return st.one_of(st.lists(one, min_size=1, max_size=40), st.lists(st.one_of(*common), min_size=60, max_size=160))


def said_by(reference: Agent) -> dict[str, Any]:
    """What model.c prints after an operation."""
    sites = reference.sites
    blocks = sorted(reference.records.items(), key=lambda item: (reference.born - item[1].birth) % WORD)
    return {
        "on": int(reference.mode != "off"),
        "paused": int(reference.mode == "paused"),
        "totals": {
            "live": len(reference.records),
            "unrecorded": sum(site.unrecorded for site in sites),
            "stacks": len(reference.stacks),
            "failed": sum(site.failed for site in sites),
            "allocs": sum(site.allocs for site in sites),
            "frees": sum(site.frees for site in sites),
            **reference.totals,
        },
        "unknown": reference.unknown,
        "doubles": reference.doubles,
        "blocks": [
            [address, min(each.size, WORD - 1), each.over, each.birth, each.site, each.thread]
            for address, each in blocks
        ],
        "sites": [
            {
                "counts": [
                    *(site.live, site.live_bytes, site.allocs, site.frees, site.failed),
                    *(site.unrecorded, site.first, site.last, site.oldest),
                ],
                "stack": list(site.stack),
                "freed_by": list(site.freed_by),
            }
            for site in sites
        ],
    }


def played(program: Path, asked: list[Operation], *arguments: str) -> list[dict[str, Any]]:
    lines = "".join(f"{operation.line()}\n" for operation in asked)
    ended = subprocess.run([program, *arguments], input=lines, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def follow(reference: Agent, asked: list[Operation], said: list[dict[str, Any]]) -> None:
    doubles = 0
    for at, (operation, after) in enumerate(zip(asked, said, strict=True)):
        reference.doubles_left = after["doubles"] - doubles
        reference.run(operation)
        doubles = after["doubles"]
        assert after == said_by(reference), f"after operation {at}: {operation.line()}"


@settings(max_examples=150, deadline=None)
@given(asked=operations())
def test_the_agent_does_as_the_plain_reference(program: Path, asked: list[Operation]) -> None:
    asked = [Operation("s", (0, 0, 0, 0, 0)), *asked]

    follow(Agent(), asked, played(program, asked))


@settings(max_examples=60, deadline=None)
@given(asked=operations())
def test_the_stream_tells_every_event_that_the_agent_counted(program: Path, asked: list[Operation]) -> None:
    asked = [Operation("s", (0, 0, 0, 0, 0)), *asked]
    *said, last = played(program, asked, "stream")
    reference = Agent(streams=True)
    follow(reference, asked, said)

    stream = decode(bytes.fromhex(last["bytes"]))

    told = dict.fromkeys(reference.events, 0)
    for kind in stream.events.kind.tolist():
        told[Kind(kind).name] += 1
    assert told == reference.events
    assert stream.problems == ()
