"""What the agent's console prints is what the golden logs hold, and every layout says the same of the same blocks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from heaptrail.model.observations import Block, Dump, Problem, SiteCount
from heaptrail.reading import ReadOptions, observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.observations import AnyObservation

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden" / "dialects" / "heaptrail"


@pytest.fixture(scope="module")
def speak(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("needs a C compiler (apt-get install gcc)")
    target = tmp_path_factory.mktemp("speak") / "speak"
    flags = ("-std=c11", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    subprocess.run(
        [gcc, *flags, f"-I{HERE.parents[1] / 'agent' / 'include'}", HERE / "speak.c", "-o", target], check=True
    )
    return target


@pytest.mark.sanitizer
@pytest.mark.parametrize("script", ["all", "limits"])
def test_the_golden_logs_are_what_the_agent_prints(
    speak: Path, script: str, golden: Callable[[Path, str], None]
) -> None:
    printed = subprocess.run([speak, script], capture_output=True, text=True, check=True, timeout=60).stdout

    golden(GOLDEN / f"{script}.txt", printed)


def read(name: str, dialect: str = "auto") -> list[AnyObservation]:
    return list(observe(GOLDEN / f"{name}.txt", ReadOptions(dialect=dialect)))


@pytest.mark.parametrize("dialect", ["auto", "heaptrail", "tina"])
def test_all_layouts_list_the_same_blocks_once(dialect: str) -> None:
    found = read("all", dialect)
    dumps = [each for each in found if isinstance(each, Dump)]
    blocks = [each for each in found if isinstance(each, Block)]

    listed = [[(b.address, b.size_bytes, b.task, b.frames) for b in blocks if b.dump == d.dump] for d in dumps]
    assert listed[0] == listed[1] == listed[2]
    assert len(listed) == 3
    assert [(d.declared_blocks, d.declared_bytes, d.complete) for d in dumps] == [(5, 11596, True)] * 3
    assert [(b.sequence, b.task_id) for b in blocks if b.dump == 1] == [(6, None), (5, 50), (4, 50), (2, 50), (1, None)]
    assert {each.dialect for each in blocks} == {"heaptrail"}


def test_a_site_names_who_allocates_and_who_frees() -> None:
    render = next(each for each in read("all") if isinstance(each, SiteCount) and each.allocations == 3)

    assert (render.live_blocks, render.live_bytes, render.frees) == (2, 2 * 0xF00, 1)
    assert (render.first_sequence, render.last_sequence, render.oldest_death_allocations) == (2, 4, 2)
    assert render.frames[1].pc == 0x08396D52
    assert render.freed_by[1].pc == 0x08446856


def test_what_the_agent_did_not_see_is_a_problem() -> None:
    said = {(each.what, each.text) for each in read("limits") if isinstance(each, Problem)}

    assert ("filter_active", "only allocations of AudioRender are recorded") in said
    assert ("paused", "the tracer was paused and did not record 1 allocations") in said
    assert any(what == "overflow" and text.startswith("3 blocks were live beyond") for what, text in said)


def test_a_double_free_has_both_stacks() -> None:
    twice = next(each for each in read("all") if isinstance(each, Problem) and each.what == "double_free")

    assert [frame.pc for frame in twice.frames] == [0x08336AEE, 0x084496C6, 0x08449706]
    assert twice.text.startswith("a block was freed twice; freed before at 0x08336AEE 0x08446856")
