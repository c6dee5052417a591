from pathlib import Path

import httpx
import pytest

from integration.security.inputs import MARKER, Schemas
from integration.security.judging import http_faults, lines_that_quote

TYPED = {"error": {"code": "INVALID_ARGUMENT", "message": "title: too long", "request_id": "r"}}
QUOTING = {"error": {"code": "INVALID_ARGUMENT", "message": f"bad {MARKER}", "request_id": "r"}}
INSIDE = {"error": {"code": "INVALID_ARGUMENT", "message": "sqlalchemy.exc", "request_id": "r"}}


@pytest.mark.parametrize("status", [400, 404])
def test_typed_refusal_has_no_faults(status: int) -> None:
    """A refusal in fixed words is what is wanted."""
    assert [] == http_faults(httpx.Response(status, json=TYPED))


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(500, json=TYPED),
        httpx.Response(400, json={"detail": "no"}),
        httpx.Response(400, text="Bad Request"),
        httpx.Response(400, json=QUOTING),
        httpx.Response(400, json=TYPED, headers={"x-seen": MARKER}),
        httpx.Response(400, json=INSIDE),
    ],
)
def test_every_other_failure_has_a_fault(response: httpx.Response) -> None:
    """A crash, an untyped error, a quotation and a word from the inside are each noticed."""
    assert http_faults(response)


def test_log_line_that_quotes_is_found_once(tmp_path: Path) -> None:
    """Lines before the first look, and those that were looked at, are left out."""
    log = tmp_path / "service.log"
    log.write_text(f"old {MARKER}\n")
    positions = {log: log.stat().st_size}
    with log.open("a") as file:
        file.write(f"fine\nnew {MARKER.upper()}\n")

    first = lines_that_quote([log], positions)
    second = lines_that_quote([log], positions)

    assert 1 == len(first)
    assert "new" in first[0]
    assert [] == second


def test_bad_objects_lack_each_field_and_have_a_surplus_one() -> None:
    """Each required field is left out once, each field is made wrong, and one is invented."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"$ref": "#/other"}},
        "required": ["a"],
    }
    schemas = Schemas({"other": {"anyOf": [{"type": "null"}, {"type": "integer"}]}})

    found = {bad.what: bad.value for bad in schemas.bad(schema)}

    assert {} == found["without a"]
    assert {"a": "plain-text", MARKER: MARKER} == found["with an unknown field"]
    assert {"a": None} == found["a: NoneType None"]
    assert {"a": "plain-text", "b": True} == found["b: bool True"]
