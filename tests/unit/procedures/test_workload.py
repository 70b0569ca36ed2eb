"""The workload file: what it may say, and what it is told when it says something else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptrail.errors import HeaptrailError, UsageError
from heaptrail.model.verdict import Capacity
from heaptrail.procedures.starter import starter_file
from heaptrail.procedures.workload import Step, load_workload

if TYPE_CHECKING:
    from pathlib import Path

SMALLEST = """
[target]
console = "/dev/ttyUSB0"
[workload]
cycle_mark = "round done"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "heaptrail.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load_workload(write(folder, text))
    return caught.value


def test_the_smallest_file_has_the_documented_defaults(tmp_path: Path) -> None:
    loaded = load_workload(write(tmp_path, SMALLEST))

    assert (loaded.target.baud, loaded.target.dialect, loaded.target.prompt) == (115_200, "auto", None)
    assert (loaded.workload.warmup_cycles, loaded.workload.measured_cycles, loaded.workload.traced_cycles) == (
        5,
        15,
        15,
    )
    assert loaded.judge_settings().warmup_cycles == 5
    assert loaded.judge_settings().confidence == 0.99
    assert loaded.elf_path is None


def test_the_starter_file_loads_and_sets_only_defaults_besides_the_workload(tmp_path: Path) -> None:
    loaded = load_workload(write(tmp_path, starter_file()))
    smallest = load_workload(write(tmp_path, SMALLEST))

    assert loaded.target == smallest.target
    assert loaded.judge == smallest.judge
    assert [step.send for step in loaded.workload.start] == ["rtplayer_test /data/boot.mp3", "l", "b"]


def test_the_starter_file_names_every_key() -> None:
    from heaptrail.procedures.workload import Judge, Outputs, Plan, Ram, Target

    for record in (Target, Plan, Step, Judge, Outputs, Ram):
        for key in record.__struct_fields__:
            assert re.search(rf"\b{key}\b", starter_file()), f"{key} is not shown"


def test_paths_refer_to_the_folder_of_the_file(tmp_path: Path) -> None:
    text = SMALLEST.replace("[workload]", 'elf = "build/fw.elf"\n[workload]') + '[report]\noutputs = ["a.html"]\n'

    loaded = load_workload(write(tmp_path, text))

    assert loaded.elf_path == tmp_path / "build" / "fw.elf"
    assert loaded.output_paths == (tmp_path / "a.html",)


def test_steps_are_read_in_order(tmp_path: Path) -> None:
    text = SMALLEST + 'cycle = [{send = "a", expect = "b", timeout_s = 2}, {send = "\\u0003", enter = false}]\n'

    assert load_workload(write(tmp_path, text)).workload.cycle == (
        Step(send="a", expect="b", timeout_s=2),
        Step(send="\x03", enter=False),
    )


@pytest.mark.parametrize(
    ("text", "sentence", "try_this"),
    [
        (SMALLEST + "baut = 1\n", "line 6, [workload] baut: there is no such key", "one of:"),
        (SMALLEST + "warmup_cyles = 1\n", "line 6, [workload] warmup_cyles: there is no such key", "warmup_cycles"),
        (SMALLEST + "[jugde]\n", "line 6, [jugde]: there is no such key", "judge"),
        (SMALLEST + '[[workload.start]]\nsent = "x"\n', "line 7, [workload] start sent (step 1): there is no", "send"),
        (SMALLEST + "folder = 1\n", "[workload] folder: there is no such key", "one of"),
        ("folder = 'x'\n" + SMALLEST, "line 1, [folder]: there is no such key", "one of"),
        (SMALLEST + "traced_cycles = -1\n", "line 6, [workload] traced_cycles: expected `int` >= 0", ""),
        (SMALLEST + 'traced_cycles = "3"\n', "line 6, [workload] traced_cycles: expected `int`, got `str`", ""),
        (SMALLEST.replace("round done", "round ("), "line 5, [workload] cycle_mark: 'round (' is not a", "backslash"),
        (SMALLEST.replace("round done", "(round)?"), "[workload] cycle_mark: '(round)?' matches an empty line", ""),
        (SMALLEST + "stop = [{timeout_s = 3}]\n", "[workload] stop (step 1): the step does nothing", "send"),
        (SMALLEST + '[[judge.capacity]]\nsite = "dns"\n', "capacity (entry 1): no maximum is given", "max_blocks"),
        (SMALLEST + '[judge]\ncapacity = [{site = "*", max_blocks = 1}]\n', "the pattern fits every site", "a part"),
        (SMALLEST + '[[judge.capacity]]\nsite = "dns"\nmax_block = 1\n', "max_block (entry 1): there is no", "max_"),
        ('[target]\nconsole = "x"\n', "neither cycle nor cycle_mark", "cycle_mark"),
        ("[target]\nbaud = 1200\n", "[target]: object missing required field `console`", ""),
        ("[workload]\n", "has no table [target]", "[target]"),
        ("[target\n", "is not TOML", ""),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, sentence: str, try_this: str) -> None:
    error = refusal(tmp_path, text)

    assert sentence in error.sentence
    assert try_this in error.try_this
    assert "heaptrail.toml" in error.sentence


def test_capacities_are_part_of_the_terms(tmp_path: Path) -> None:
    loaded = load_workload(write(tmp_path, SMALLEST + '[[judge.capacity]]\nsite = "dns_*"\nmax_blocks = 32\n'))
    assert loaded.judge_settings().capacity == (Capacity(site="dns_*", max_blocks=32),)


def test_a_file_that_is_not_there_points_to_init(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file") as caught:
        load_workload(tmp_path / "heaptrail.toml")
    assert "heaptrail init" in caught.value.try_this


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.toml"
    path.write_bytes(data)

    with pytest.raises(HeaptrailError) as caught:
        load_workload(path)
    assert "noise.toml" in caught.value.sentence
