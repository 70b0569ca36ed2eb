"""The report as JSON, `heaptrail.report/1` (SPEC.md, "Report"), and back.

The schemas in `schema/` are made from the records by msgspec, so they cannot say anything else than the code does; a
test fails when a file there is not current.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any, ClassVar, Final, Literal

import msgspec

from heaptrail.errors import FormatError
from heaptrail.model.observations import AnyObservation
from heaptrail.model.report import SCHEMA, Report
from heaptrail.reports.untrusted import escaped, json_for_logs

SchemaName = Literal["report", "observation"]

_SCHEMA_TYPES: Final[dict[str, Any]] = {"report": Report, "observation": AnyObservation}
_OURS: Final = re.compile(rb'\s*\{\s*"schema"\s*:\s*"heaptrail\.')
_CAPTURE: Final = re.compile(rb'\{[^\n]*"version":\s*2\b[^\n]*"width"')
_HEAD_BYTES: Final = 4096
_NOT_PLAIN: Final = re.compile(r"[^\n -~]")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BYTES_AT_MOST: Final = 1 << 30
"""A report larger than this was not written by heaptrail; its readings and sites are bounded."""


class JsonRenderer:
    """JSON for programs and for `heaptrail render`, indented and in a stable order."""

    name: ClassVar[str] = "json"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def render(self, report: Report) -> bytes:
        r"""The whole report; what is not printable is written as `\uXXXX`, so that the file may be shown with `cat`."""
        text = msgspec.json.format(_encoded(report).decode(), indent=2)
        return json_for_logs(_NOT_PLAIN.sub(_printable_or_code, text).encode()) + b"\n"


def looks_like_report(head: bytes) -> bool:
    """Whether a file that begins like this is one of heaptrail's own, of whatever version."""
    return _OURS.match(head) is not None


def load_report(content: bytes) -> Report:
    """The report that `JsonRenderer` wrote.

    Raises:
        FormatError: It is not JSON, not a report, or a report of another version; the sentence says where.
    """
    if len(content) > _BYTES_AT_MOST:
        raise FormatError(f"this report has {len(content):,} bytes", try_this="a report that heaptrail wrote")
    try:
        found = _schema_of(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if _CAPTURE.match(content[:_HEAD_BYTES]):
            raise FormatError(
                "this is a capture, not a report", try_this="heaptrail read CAPTURE --output report.json"
            ) from None
        raise FormatError(
            f"this is not JSON: {error}", try_this="give a file that `heaptrail read --format json` wrote"
        ) from None
    if found != SCHEMA:
        what = "no `schema`" if found is None else f"schema {str(found)[:80]!r}"
        raise FormatError(
            f"this JSON has {what}, not {SCHEMA!r}",
            try_this="make the report again from its capture with `heaptrail read`",
        )
    try:
        return msgspec.json.decode(content, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(
            f"this report does not follow its schema: {error}",
            try_this="make it again from the capture with `heaptrail read`",
        ) from None


class _Head(msgspec.Struct, frozen=True):
    schema: Any = None


def _schema_of(content: bytes) -> Any:  # noqa: ANN401 - whatever a stranger's file has there
    """What the file calls itself, or None. The rest is passed over: as dicts, a large report takes twice its memory."""
    try:
        return msgspec.json.decode(content, type=_Head).schema
    except msgspec.ValidationError:  # it does not begin an object; whether it is JSON at all is still to be seen
        msgspec.json.decode(content)
        return None


def schema_bytes(name: SchemaName) -> bytes:
    """The JSON schema made from the records of this version: `report`, or `observation` for the lines of `parse`."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"heaptrail {name}",
        **msgspec.json.schema(_SCHEMA_TYPES[name]),
    }
    encoded = msgspec.json.encode(schema, order="sorted")
    return msgspec.json.format(encoded, indent=2) + b"\n"


def packaged_schema(name: SchemaName) -> bytes:
    """The JSON schema as the package ships it."""
    return files("heaptrail.reports").joinpath("schema", f"{name}.schema.json").read_bytes()


def _encoded(report: Report) -> bytes:
    try:
        return msgspec.json.encode(report, order="deterministic")
    except UnicodeEncodeError:  # JSON has no bytes: those that were not UTF-8 are written as text, `\x80`
        return msgspec.json.encode(_without_surrogates(msgspec.to_builtins(report, order="deterministic")))


def _without_surrogates(value: Any) -> Any:  # noqa: ANN401 - the JSON types, which are any of six
    if isinstance(value, str):
        return _LONE_SURROGATE.sub(_code, value)
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        plain = {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
        return plain if plain.keys() == value.keys() else dict(sorted(plain.items()))  # in order when read back, too
    return value


def _code(match: re.Match[str]) -> str:
    return escaped(match.group())


def _printable_or_code(match: re.Match[str]) -> str:
    """Every such character stands inside a JSON string, where its code means the same."""
    character = match.group()
    if character.isprintable():
        return character
    code = ord(character)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
