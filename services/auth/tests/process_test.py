from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    reflection_pb2,
    reflection_pb2_grpc,
)

from services.auth.tests.running import (
    OPERATOR_SECRET,
    PASSWORD,
    RunningAuth,
    environment,
    program,
    running_auth,
)
from tools.datastores import PostgresServer
from tools.processes import ProcessDiedError, ProcessSpecification, Supervisor

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def _until(condition: Callable[[], bool], limit_seconds: float = 10) -> None:
    limit = time.monotonic() + limit_seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def _check(auth: RunningAuth, service: str = "") -> int:
    with grpc.insecure_channel(auth.grpc_target) as channel:
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
    with grpc.insecure_channel(auth.grpc_target) as channel:
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
        _until(lambda: 'in_flight{channel="http"} 1.0' in auth.http.get("/metrics").text)
        auth.http.close()
        yield connection


def _is_draining(auth: RunningAuth) -> bool:
    return any(line["event"] == "draining" for line in auth.log_lines())


def test_it_drains(postgres: PostgresServer) -> None:
    """A request that SIGTERM finds half done is answered, and the process ends with 0."""
    with running_auth(postgres, name="auth-drained") as auth:
        root = auth.new_tenant()
        typed = {"tenant": root.tenant, "login_name": root.login_name, "password": PASSWORD}
        body = json.dumps(typed).encode()
        with _half_a_log_in(auth, body) as connection, ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(auth.process.stop)
            _until(lambda: _is_draining(auth))
            connection.sendall(body[5:])
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
            stopping.result()

        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert root.user_id.encode() in answer
        assert 0 == auth.process.exit_code
        assert "ended" == auth.log_lines()[-1]["event"]


def test_nobody_holds_up_its_end(postgres: PostgresServer) -> None:
    """A request that never ends is ended: the process is gone within 6 s, with 0."""
    with running_auth(postgres, name="auth-held") as auth, _half_a_log_in(auth, b"x" * 10):
        began = time.monotonic()
        auth.process.stop()

        assert 0 == auth.process.exit_code
        assert time.monotonic() - began < 6


def test_health_follows_the_datastore(postgres: PostgresServer) -> None:
    """Not ready while its database does not answer, alive all the time, and ready again after."""
    with running_auth(postgres, name="auth-without-database") as auth:
        administrator = auth.new_tenant()
        postgres.process.pause()
        try:
            answer = auth.http.get("/health")
            assert 503 == answer.status_code
            assert {"postgres": False, "revocations": False} == answer.json()["checks"]
            assert _NOT_SERVING == _check(auth)
            assert 200 == auth.http.get("/health/live").status_code
        finally:
            postgres.process.resume()

        _until(lambda: auth.http.get("/health").status_code == 200)
        assert 200 == auth.http.get("/users/me", headers=administrator.bearer).status_code


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WATERTIGHT_SIGNING_KEY", '{"kty": "oct", "k": "c2VjcmV0LXZhbHVl", "kid": "x"}'),
        ("WATERTIGHT_OPERATOR_SECRET", "secret-value"),
        ("WATERTIGHT_WORKLOAD_SECRETS", '{"backend": "secret-value"}'),
        ("WATERTIGHT_WORKLOAD_SECRETS", "secret-value"),
        ("WATERTIGHT_HTTP_PORT", "70000"),
        ("WATERTIGHT_OTLP_ENDPOINT", "secret-value"),
        ("WATERTIGHT_POSTGRES_URL", ""),
    ],
)
def test_wrong_settings(postgres: PostgresServer, variable: str, value: str) -> None:
    """A wrong setting ends the process with 78 and a line that names it, not its value."""
    with Supervisor() as supervisor, pytest.raises(ProcessDiedError) as died:
        supervisor.start(
            ProcessSpecification(
                name="auth", argv=program(), env={**environment(postgres), variable: value}
            )
        )

    assert 78 == died.value.exit_code
    assert variable in died.value.log_tail
    assert "secret-value" not in died.value.log_tail
    assert OPERATOR_SECRET not in died.value.log_tail


@pytest.mark.parametrize("variable", ["WATERTIGHT_HTTP_PORT", "WATERTIGHT_GRPC_PORT"])
def test_a_port_that_is_taken(postgres: PostgresServer, variable: str) -> None:
    """A service that cannot listen says so in its log, and ends at once with 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken, Supervisor() as supervisor:
        settings = {**environment(postgres), variable: str(taken.getsockname()[1])}
        specification = ProcessSpecification(name="auth", argv=program(), env=settings)
        with pytest.raises(ProcessDiedError) as died:
            supervisor.start(specification)
    (line,) = [json.loads(text) for text in died.value.log_tail.splitlines()]

    assert 1 == died.value.exit_code
    assert "ended by a failure" == line["event"]
