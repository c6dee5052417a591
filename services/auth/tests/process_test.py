from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    reflection_pb2,
    reflection_pb2_grpc,
)

from services.auth.tests.running import (
    OPERATOR_SECRET,
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


def test_it_drains_and_ends_well(postgres: PostgresServer) -> None:
    """SIGTERM during a request: it is answered, and the process ends with 0 in time."""
    slow = {"WATERTIGHT_PASSWORD_MEMORY_KIB": "262144", "WATERTIGHT_PASSWORD_ITERATIONS": "4"}
    with running_auth(postgres, more=slow, name="auth-drained") as auth:
        administrator = auth.new_tenant()
        with ThreadPoolExecutor(1) as pool:
            begun = pool.submit(auth.log_in, administrator.tenant, administrator.login_name)
            _until(lambda: 'in_flight{channel="http"} 1.0' in auth.http.get("/metrics").text)
            assert not begun.done()
            began = time.monotonic()
            auth.process.stop()
            took = time.monotonic() - began

        assert administrator.user_id == begun.result().user_id
        assert 0 == auth.process.exit_code
        assert took < 5
        assert ["draining", "ended"] == [
            line["event"] for line in auth.log_lines() if line["event"] in {"draining", "ended"}
        ]


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
