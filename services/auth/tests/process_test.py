from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    reflection_pb2,
    reflection_pb2_grpc,
)

from services.auth.tests.running import RunningAuth, running_auth
from tools.datastores import Datastores, PostgresServer
from tools.local.tests.running import PASSWORD
from tools.processes import ProcessDiedError
from tools.processes.waiting import wait_until

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def _check(auth: RunningAuth, service: str = "") -> int:
    with grpc.insecure_channel(auth.grpc_target()) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
    return int(answer.status)


def test_the_ready_line_is_all_of_standard_output(auth: RunningAuth) -> None:
    """One line says the service's name and its two ports, and is followed by logs alone."""
    lines = [json.loads(line) for line in auth.process.log_path.read_text().splitlines()]
    (ready,) = [line for line in lines if "event" not in line]

    assert {"ready", "service", "http_port", "grpc_port"} == set(ready)
    assert "auth" == ready["service"]


def test_grpc_health_and_reflection(auth: RunningAuth) -> None:
    """Health is told for the process and for the service; reflection lists what there is."""
    with grpc.insecure_channel(auth.grpc_target()) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = list(stub.ServerReflectionInfo(iter([request]), timeout=5))
    names = {service.name for service in answer.list_services_response.service}

    assert _SERVING == _check(auth)
    assert _SERVING == _check(auth, "watertight.auth.v1.AuthService")
    assert "watertight.auth.v1.AuthService" in names


@contextmanager
def _half_a_log_in(auth: RunningAuth, body: bytes) -> Iterator[socket.socket]:
    """A request whose body has not come whole, and which the service has begun."""
    port = auth.http.base_url.port
    head = (
        b"POST /login HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n" % len(body)
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head + body[:5])
        wait_until(lambda: 'in_flight{channel="http"} 1.0' in auth.http.get("/metrics").text)
        auth.http.close()
        yield connection


def _is_draining(auth: RunningAuth) -> bool:
    return any(line["event"] == "draining" for line in auth.log_lines())


def test_it_drains(datastores: Datastores) -> None:
    """A request that SIGTERM finds half done is answered, and the process ends with 0."""
    with running_auth(datastores) as auth:
        root = auth.new_tenant()
        typed = {"tenant": root.tenant, "login_name": root.login_name, "password": PASSWORD}
        body = json.dumps(typed).encode()
        with _half_a_log_in(auth, body) as connection, ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(auth.process.stop)
            wait_until(lambda: _is_draining(auth))
            connection.sendall(body[5:])
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
            stopping.result()

        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert root.user_id.encode() in answer
        assert 0 == auth.process.exit_code
        assert "ended" == auth.log_lines()[-1]["event"]


def test_nobody_holds_up_its_end(datastores: Datastores) -> None:
    """A request that never ends is ended: the process is gone within 6 s, with 0."""
    with running_auth(datastores) as auth, _half_a_log_in(auth, b"x" * 10):
        began = time.monotonic()
        auth.process.stop()

        assert 0 == auth.process.exit_code
        assert time.monotonic() - began < 6


def test_health_follows_the_datastore(datastores: Datastores, postgres: PostgresServer) -> None:
    """Not ready while its database does not answer, alive all the time, and ready again after."""
    with running_auth(datastores) as auth:
        administrator = auth.new_tenant()
        postgres.process.pause()
        try:
            wait_until(lambda: auth.http.get("/health").status_code == 503)
            answer = auth.http.get("/health")
            assert {"postgres": False, "revocations": False} == answer.json()["checks"]
            wait_until(lambda: _check(auth) == _NOT_SERVING)
            assert 200 == auth.http.get("/health/live").status_code
        finally:
            postgres.process.resume()

        wait_until(lambda: auth.http.get("/health").status_code == 200)
        assert 200 == auth.http.get("/users/me", headers=administrator.bearer).status_code


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("SIGNING_KEY", '{"kty": "oct", "k": "c2VjcmV0LXZhbHVl", "kid": "x"}'),
        ("OPERATOR_SECRET", "secret-value"),
        ("WORKLOAD_SECRETS", '{"backend": "secret-value"}'),
        ("WORKLOAD_SECRETS", "secret-value"),
        ("HTTP_PORT", "70000"),
        ("OTLP_ENDPOINT", "secret-value"),
        ("POSTGRES_URL", ""),
    ],
)
def test_wrong_settings(datastores: Datastores, setting: str, value: str) -> None:
    """A wrong setting ends the process with 78 and a line that names it, not its value."""
    right = {"OPERATOR_SECRET": "right-operator-secret" + "0" * 32}
    with (
        pytest.raises(ProcessDiedError) as died,
        running_auth(datastores, settings={**right, setting: value}),
    ):
        pass

    assert 78 == died.value.exit_code
    assert f"WATERTIGHT_{setting}" in died.value.log_tail
    assert "secret-value" not in died.value.log_tail
    assert "right-operator-secret" not in died.value.log_tail


@pytest.mark.parametrize("setting", ["HTTP_PORT", "GRPC_PORT"])
def test_a_port_that_is_taken(datastores: Datastores, setting: str) -> None:
    """A service that cannot listen says so in its log, and ends at once with 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = {setting: str(taken.getsockname()[1])}
        with pytest.raises(ProcessDiedError) as died, running_auth(datastores, settings=settings):
            pass
    (line,) = [json.loads(text) for text in died.value.log_tail.splitlines()]

    assert 1 == died.value.exit_code
    assert "ended by a failure" == line["event"]
