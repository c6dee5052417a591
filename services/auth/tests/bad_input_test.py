"""Bad input to every route that OpenAPI tells, and every method that the descriptor does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from services.auth.tests.running import RunningAuth
from tools.local.tests.running import error_of
from watertight.auth.v1 import auth_pb2

_STATUSES = {400, 401, 403, 404, 405, 409, 413}
_DEEP = b"[" * 30_000 + b"]" * 30_000
_BODIES: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "unknown field": b'{"evil-field-name": 1}',
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "a huge integer": b'{"name": ' + b"9" * 10_000 + b"}",
    "deep nesting": _DEEP,
    "not a number": b'{"name": NaN}',
    "too large": b'{"name": "' + b"x" * 70_000 + b'"}',
}
_TEXTS = {
    "NUL": "a\x00b",
    "lone surrogate": "\ud800",
    "line break": "a\nb",
    "spaces": "   ",
    "too long": "x" * 65,
    "too long in bytes": "\u00e9" * 33,
    "a number": 1,
    "a list": ["x"],
    "null": None,
}
# A password is hashed, never stored or shown: it may hold what a name may not.
_NO_PASSWORDS = {"lone surrogate", "a number", "a list", "null"}


def _operations(auth: RunningAuth) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in auth.http.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _require_refusal(answer: httpx.Response, what: str) -> None:
    assert answer.status_code in _STATUSES, f"{what}: {answer.status_code} {answer.text}"
    error_of(answer)
    assert "evil-field-name" not in answer.text


@pytest.fixture(scope="module")
def credentials(auth: RunningAuth) -> dict[str, str]:
    """The Bearer of each security scheme that OpenAPI names."""
    return {
        "HTTPBearer": auth.new_tenant().bearer["authorization"],
        "OperatorSecret": auth.operator["authorization"],
    }


def _authorization(operation: dict[str, Any], credentials: dict[str, str]) -> dict[str, str]:
    schemes = [name for scheme in operation.get("security", []) for name in scheme]
    return {"authorization": credentials[schemes[0]]} if schemes else {}


@pytest.mark.parametrize("body", _BODIES)
def test_bodies(auth: RunningAuth, credentials: dict[str, str], body: str) -> None:
    """A body that is not what the route takes is refused, whoever sends it."""
    tried = 0
    for method, path, operation in _operations(auth):
        if "requestBody" not in operation:
            continue
        headers = {
            "content-type": "application/json",
            **_authorization(operation, credentials),
        }
        answer = auth.http.request(method, path, content=_BODIES[body], headers=headers)
        _require_refusal(answer, f"{method} {path}, {body}")
        tried += 1

    assert 4 == tried


def _variants(schema: dict[str, Any], components: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Valid bodies but for one text, which is each of the bad ones in turn."""
    good = _example(schema, components)
    for name, value in good.items():
        if isinstance(value, dict):
            nested = components[schema["properties"][name]["$ref"].rsplit("/", 1)[1]]
            for variant in _variants(nested, components):
                yield {**good, name: variant}
        elif isinstance(value, str):
            for kind, bad in _TEXTS.items():
                if name != "password" or kind in _NO_PASSWORDS:
                    yield {**good, name: bad}


def _example(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _example(components[one["$ref"].rsplit("/", 1)[1]], components)
        if "$ref" in one
        else "long enough"
        for name, one in schema["properties"].items()
        if one.get("type") != "boolean"
    }


def test_texts(auth: RunningAuth, credentials: dict[str, str]) -> None:
    """Text that is none, too long, or unfit to be stored is refused in every field."""
    components = auth.http.get("/openapi.json").json()["components"]["schemas"]
    tried = 0
    for method, path, operation in _operations(auth):
        if "requestBody" not in operation:
            continue
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for body in _variants(components[reference.rsplit("/", 1)[1]], components):
            answer = auth.http.request(
                method,
                path,
                content=json.dumps(body).encode(),
                headers={
                    "content-type": "application/json",
                    **_authorization(operation, credentials),
                },
            )
            _require_refusal(answer, f"{method} {path} {body}")
            tried += 1

    assert 6 * 9 + 3 * 4 == tried


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Basic cm9vdDpyb290",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer " + "a" * 5000,
        "Bearer \xff",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
    ],
)
def test_credentials(auth: RunningAuth, authorization: str) -> None:
    """Every route behind a boundary refuses what is no credential, before it looks at the rest."""
    tried = 0
    for method, path, operation in _operations(auth):
        if "security" not in operation:
            continue
        headers = [(b"authorization", authorization.encode("latin-1"))]
        answer = auth.http.request(
            method, path.replace("{user_id}", "%00"), headers=headers, content=b"{"
        )
        assert answer.status_code in {400, 401}, f"{method} {path}: {answer.text}"
        error_of(answer)
        tried += 1

    assert 5 == tried


def test_two_credentials_are_none(auth: RunningAuth, credentials: dict[str, str]) -> None:
    """A repeated Authorization header is refused, even when both are the same."""
    value = credentials["HTTPBearer"].encode()
    answer = auth.http.get("/users/me", headers=[(b"authorization", value)] * 2)

    assert (400, "INVALID_ARGUMENT") == error_of(answer)


@pytest.mark.parametrize("user_id", ["%00", "null", "%0A", "x" * 65, "%ED%A0%80", "%20"])
def test_identifiers_in_paths(auth: RunningAuth, credentials: dict[str, str], user_id: str) -> None:
    """An identifier that nobody can have is refused before anything is asked for it."""
    answer = auth.http.post(
        f"/users/{user_id}/revocations",
        headers={"authorization": credentials["HTTPBearer"]},
    )

    assert answer.status_code in {400, 404}
    error_of(answer)


@pytest.mark.parametrize("path", ["/", "/nothing", "/users/", "/login/x", "/%00", "//login"])
def test_unknown_paths(auth: RunningAuth, path: str) -> None:
    """What is not there is told in the services' own shape."""
    assert (404, "NOT_FOUND") == error_of(auth.http.get(path))


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "GET", "TRACE", "BREW"])
def test_other_methods(auth: RunningAuth, method: str) -> None:
    """A path that does not offer the method says so, and which one it offers."""
    answer = auth.http.request(method, "/login")

    if method == "BREW":  # no method of HTTP
        assert answer.status_code in {400, 405}
    else:
        assert (405, "UNIMPLEMENTED") == error_of(answer)
        assert "POST" == answer.headers["allow"]


def test_headers_without_end(auth: RunningAuth) -> None:
    """Headers beyond the limit end the connection with a typed answer."""
    answer = auth.http.get("/health/live", headers={"x-long": "x" * 40_000})

    assert (400, "INVALID_ARGUMENT") == error_of(answer)


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("x-workload-token", ""),),
        (("x-workload-token", "x"),),
        (("x-workload-token", "a.b.c"),),
        (("x-workload-token", "x" * 5000),),
        (("x-workload-token", "x"), ("x-workload-token", "x")),
        (("authorization", "Bearer x"),),
        (("txn-token", "x"),),
    ],
)
def test_grpc_methods(auth: RunningAuth, metadata: tuple[tuple[str, str], ...]) -> None:
    """Every method refuses a caller that proves nothing, before it parses the request."""
    service = auth_pb2.DESCRIPTOR.services_by_name["AuthService"]
    with grpc.insecure_channel(auth.grpc_target()) as channel:
        for method in service.methods:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                f"/{service.full_name}/{method.name}"
            )
            with pytest.raises(grpc.RpcError) as caught:
                call(b"\xff no message \xff", metadata=metadata, timeout=5)
            assert caught.value.code() in {
                grpc.StatusCode.UNAUTHENTICATED,
                grpc.StatusCode.INVALID_ARGUMENT,
            }


def test_the_system_is_unharmed(auth: RunningAuth) -> None:
    """After all of that the service is ready, and its log tells of no defect."""
    assert 200 == auth.http.get("/health").status_code
    assert [] == [line for line in auth.log_lines() if line["level"] in {"error", "critical"}]
