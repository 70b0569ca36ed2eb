"""The message of pprof's profile.proto, made known to Google's protobuf library, which then reads what we wrote.

Only names and numbers of fields, from github.com/google/pprof; the encoding is the library's own business.
"""

from __future__ import annotations

import gzip
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_INT64, _UINT64, _BOOL, _STRING, _MESSAGE = 3, 4, 8, 9, 11
_MESSAGES: dict[str, dict[str, tuple[int, int, bool, str]]] = {
    "ValueType": {"type": (1, _INT64, False, ""), "unit": (2, _INT64, False, "")},
    "Label": {
        "key": (1, _INT64, False, ""),
        "str": (2, _INT64, False, ""),
        "num": (3, _INT64, False, ""),
        "num_unit": (4, _INT64, False, ""),
    },
    "Sample": {
        "location_id": (1, _UINT64, True, ""),
        "value": (2, _INT64, True, ""),
        "label": (3, _MESSAGE, True, "Label"),
    },
    "Mapping": {
        "id": (1, _UINT64, False, ""),
        "memory_start": (2, _UINT64, False, ""),
        "memory_limit": (3, _UINT64, False, ""),
        "file_offset": (4, _UINT64, False, ""),
        "filename": (5, _INT64, False, ""),
        "build_id": (6, _INT64, False, ""),
        "has_functions": (7, _BOOL, False, ""),
        "has_filenames": (8, _BOOL, False, ""),
        "has_line_numbers": (9, _BOOL, False, ""),
        "has_inline_frames": (10, _BOOL, False, ""),
    },
    "Line": {"function_id": (1, _UINT64, False, ""), "line": (2, _INT64, False, "")},
    "Location": {
        "id": (1, _UINT64, False, ""),
        "mapping_id": (2, _UINT64, False, ""),
        "address": (3, _UINT64, False, ""),
        "line": (4, _MESSAGE, True, "Line"),
        "is_folded": (5, _BOOL, False, ""),
    },
    "Function": {
        "id": (1, _UINT64, False, ""),
        "name": (2, _INT64, False, ""),
        "system_name": (3, _INT64, False, ""),
        "filename": (4, _INT64, False, ""),
        "start_line": (5, _INT64, False, ""),
    },
    "Profile": {
        "sample_type": (1, _MESSAGE, True, "ValueType"),
        "sample": (2, _MESSAGE, True, "Sample"),
        "mapping": (3, _MESSAGE, True, "Mapping"),
        "location": (4, _MESSAGE, True, "Location"),
        "function": (5, _MESSAGE, True, "Function"),
        "string_table": (6, _STRING, True, ""),
        "drop_frames": (7, _INT64, False, ""),
        "time_nanos": (9, _INT64, False, ""),
        "comment": (13, _INT64, True, ""),
        "default_sample_type": (14, _INT64, False, ""),
    },
}


def _profile_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="profile.proto", package="perftools.profiles", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind, repeated, type_name) in fields.items():
            message.field.add(
                name=field_name,
                number=number,
                type=kind,  # type: ignore[arg-type]
                label=3 if repeated else 1,  # type: ignore[arg-type]
                type_name=f".perftools.profiles.{type_name}" if type_name else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("perftools.profiles.Profile"))


PROFILE = _profile_class()


def read_profile(content: bytes) -> Any:
    """The decoded profile. A field that profile.proto does not have is an error."""
    profile = PROFILE()
    profile.ParseFromString(gzip.decompress(content))
    known = profile.SerializeToString()
    profile.DiscardUnknownFields()
    assert profile.SerializeToString() == known, "there is a field that profile.proto does not have"
    return profile
