"""JSON: there and back, the same each time, safe to show, and described by a schema that is current."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from unit.reports import samples

from heaptrail.errors import FormatError
from heaptrail.model.report import SCHEMA
from heaptrail.reports.jsonfile import JsonRenderer, SchemaName, load_report, packaged_schema, schema_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDENS = Path(__file__).resolve().parents[2] / "golden" / "reports" / "json"
SCHEMAS = Path(__file__).resolve().parents[3] / "src" / "heaptrail" / "reports" / "schema"


@pytest.mark.parametrize("name", ["leak", "two_boots", "no_leak", "bare_log", "empty"])
def test_a_report_comes_back_as_it_went(name: str) -> None:
    report = samples.SAMPLES[name]()

    assert load_report(JsonRenderer().render(report)) == report


@pytest.mark.parametrize("name", ["leak", "bare_log", "empty"])
def test_the_json_of_a_sample_stays_the_same(name: str, golden: Callable[[Path, str], None]) -> None:
    content = JsonRenderer().render(samples.SAMPLES[name]())

    golden(GOLDENS / f"{name}.json", content.decode())
    assert content == JsonRenderer().render(samples.SAMPLES[name]()), "the same each time"


def test_the_json_holds_every_field_of_the_contract() -> None:
    report = json.loads(JsonRenderer().render(samples.leak()))

    assert report["schema"] == SCHEMA
    assert report["verdict"] == "leak"
    assert set(report["rate_bytes_per_cycle"]) == {"low", "estimate", "high"}
    assert set(report["books"]) >= {"lost_bytes", "explained_bytes", "unexplained_bytes", "share_explained"}
    finding = report["findings"][0]
    assert finding["class"] == "leak"
    assert [site["name"] for site in finding["sites"]] == ["softvol_ap_update_mode", "resample_ap_update_mode"]
    frame = finding["sites"][0]["frames"][2]
    assert (frame["pc"], frame["kind"], frame["line"], frame["inlined"]) == (0x08396D52, "call", 250, False)


def test_control_characters_leave_as_codes_and_come_back_whole() -> None:
    task = samples.leak().tasks[0]
    evil = "\x1b[31m\x7f\x9b2J\u202e\U000e0041\u97f3"
    report = msgspec.structs.replace(samples.empty(), tasks=(msgspec.structs.replace(task, name=evil),))

    content = JsonRenderer().render(report)

    assert all(character.isprintable() or character == "\n" for character in content.decode())
    assert "\u97f3" in content.decode(), "letters stay letters"
    assert load_report(content).tasks[0].name == evil


def test_bytes_that_were_no_text_are_written_as_their_codes() -> None:
    """A lone surrogate stands for one raw byte (surrogateescape); JSON cannot hold it."""
    report = msgspec.structs.replace(samples.empty(), headline="task \udcff\udc80")

    assert load_report(JsonRenderer().render(report)).headline == "task \\xff\\x80"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"schema": "heaptrail.report/1"', "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'{"version": 2, "width": 80, "height": 24}\n[0.1, "o", "c906>"]\n', "this is a capture, not a report"),
        (b"[]", "no `schema`"),
        (b'{"verdict": "leak"}', "no `schema`"),
        (b'{"schema": "heaptrail.report/2"}', "'heaptrail.report/2', not 'heaptrail.report/1'"),
        (b'{"schema": "heaptrail.report/1", "verdict": "maybe"}', "does not follow its schema"),
        (b'{"schema": "heaptrail.report/1", "verdict": "leak"}', "missing required field `headline`"),
    ],
)
def test_what_is_no_report_is_refused_with_the_reason(content: bytes, says: str) -> None:
    with pytest.raises(FormatError) as caught:
        load_report(content)

    assert says in caught.value.sentence
    assert "heaptrail read" in caught.value.try_this


@pytest.mark.parametrize("name", ["report", "observation"])
def test_the_schema_in_the_package_is_what_the_records_say(
    name: SchemaName, golden: Callable[[Path, str], None]
) -> None:
    golden(SCHEMAS / f"{name}.schema.json", schema_bytes(name).decode())

    assert packaged_schema(name) == schema_bytes(name)


def test_the_schemas_name_the_fields_outsiders_rely_on() -> None:
    report = json.loads(packaged_schema("report"))
    observation = json.loads(packaged_schema("observation"))

    assert {"verdict", "reasons", "books", "findings", "series", "problems", "provenance"} <= set(
        report["$defs"]["Report"]["properties"]
    )
    kinds = {definition["properties"]["kind"]["enum"][0] for definition in _tagged(observation)}
    assert kinds == {"heap_sample", "task", "dump", "block", "site", "event", "problem", "mark"}


def _tagged(schema: dict[str, dict[str, dict[str, dict[str, list[str]]]]]) -> list[dict[str, dict[str, list[str]]]]:
    return [d for d in schema["$defs"].values() if "kind" in d["properties"] and "line" in d["properties"]]  # type: ignore[misc]
