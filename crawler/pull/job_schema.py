"""The JSON Schema of job files, for editors: https://json-schema.org/draft/2020-12."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from crawler.pull.job_file import Sections
from crawler.pull.keys import TOP, Key

_DURATION: Final = r"^\s*[0-9]{1,15}(\.[0-9]{1,9})?\s?(us|µs|μs|ms|s|m|h|d)?\s*$"
_ONE: Final = {"type": ["string", "number"]}
_TYPES: Final[Mapping[str, Any]] = {
    "text": _ONE,
    "texts": {"anyOf": [_ONE, {"type": "array", "items": _ONE}]},
    "flag": {"type": "boolean"},
    "count": {"type": "integer", "minimum": 0},
    "duration": {
        "anyOf": [{"type": "string", "pattern": _DURATION}, {"type": "number", "minimum": 0}]
    },
    "size": _ONE,
}


def job_schema(known: Sections) -> dict[str, Any]:
    """Give the schema of a job file with these keys."""
    properties = {name: _of_key(key) for name, key in known[TOP].items()}
    for section, keys in known.items():
        if section != TOP:
            inside = {name: _of_key(key) for name, key in keys.items()}
            properties[section] = _object(inside)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A job of crawl pull",
        **_object(properties),
        "required": ["targets"],
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _of_key(key: Key) -> dict[str, Any]:
    kind = {"enum": list(key.choices)} if key.choices else _TYPES[key.kind]
    return {"description": key.help, **kind}
