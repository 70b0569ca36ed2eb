"""LiteOS: hexadecimal sizes that hold the header, and a `free` whose units are not printed."""

from __future__ import annotations

import pytest

from heaptrail.dialects import Line
from heaptrail.dialects.liteos import LiteOs
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.observations import AnyObservation, Block, Dump, HeapSample, Problem, Task

NODES = "node        size   LR[0]      LR[1]       LR[2]"


def read(*lines: str) -> list[AnyObservation]:
    dialect = LiteOs(DEFAULT_LIMITS)
    found = [each for number, text in enumerate(lines, 1) for each in dialect.feed(Line(text, number))]
    return found + list(dialect.finish())


def whats(found: list[AnyObservation]) -> list[str]:
    return [each.what for each in found if isinstance(each, Problem)]


def test_a_nodes_size_is_hexadecimal_and_holds_its_header() -> None:
    found = read(NODES, "0x20006A10: 0x418 0x0800b21e  0x0800b2d4  0x0")

    block = next(each for each in found if isinstance(each, Block))
    assert (block.address, block.size_bytes, block.size_kind, block.task) == (0x20006A10, 0x418, "block", None)
    assert [(frame.pc, frame.kind) for frame in block.frames] == [(0x0800B21E, "return"), (0x0800B2D4, "return")]


def test_a_node_with_too_few_frames_was_cut_and_its_size_is_not_trusted() -> None:
    found = read(NODES, "0x20006A10: 0x418 0x0800b21e  0x0800b2d4  0x08004c10", "0x20006e28: 0x5")

    assert [each.address for each in found if isinstance(each, Block)] == [0x20006A10]
    assert whats(found) == ["torn_record"]
    assert next(each for each in found if isinstance(each, Dump)).complete is False


def test_a_listing_without_sizes_is_left_out_and_said() -> None:
    found = read("node          LR[0]       LR[1]", "0x0010017320:  0x000800b21e  0x000800b2d4")

    assert whats(found) == ["missing_sizes"]
    assert not any(isinstance(each, Block) for each in found)


@pytest.mark.parametrize(
    ("lines", "readable"),
    [
        (("OHOS # free", "total used free heap", "Mem: 98304 20480 77824 1600"), True),
        (("OHOS # free -k", "total used free heap", "Mem: 98304 20480 77824 1600"), False),
        (("total used free heap", "Mem: 98304 20480 77824 1600"), False),
        (("total used free heap", "Mem: 134217728 30212096 104005632 2101248"), True),
    ],
)
def test_free_counts_only_where_its_unit_is_known(lines: tuple[str, ...], *, readable: bool) -> None:
    found = read(*lines)

    assert any(isinstance(each, HeapSample) for each in found) is readable
    assert whats(found) == ([] if readable else ["unknown_unit"])


def test_a_tasks_heap_bytes_are_its_last_column() -> None:
    found = read(
        "Name  TaskEntryAddr  TID  Priority  Status  StackSize  WaterLine  StackPoint  TopOfStack  EventMask  MEMUSE",
        "MqttRecv  0x8011c21  0x6  12  Delay  0x1000  0x6c8  0x20014a30  0x20013b00  0x0  2448",
    )

    task = next(each for each in found if isinstance(each, Task))
    assert (task.name, task.id, task.stack_size_bytes, task.heap_bytes) == ("MqttRecv", 6, 0x1000, 2448)
