import json

import pytest

from integration.environment.credentials import Credentials
from integration.environment.settings import ServiceAddress, Surroundings, variables

CREDENTIALS = Credentials.generate(["backend", "analytics"])
AROUND = Surroundings(
    address=ServiceAddress(1, 2),
    postgres_urls={"service": "postgresql://a", "relay": "postgresql://b"},
    redis_url="redis://c",
    auth=ServiceAddress(3, 4),
    analytics=ServiceAddress(5, 6),
    more={"LOG_LEVEL": "debug", "HOST": "::1"},
)


def test_backend_is_told_where_the_others_are() -> None:
    """A service gets its own addresses, its datastores and whom it calls."""
    found = variables("backend", AROUND, CREDENTIALS)

    assert "postgresql://a" == found["WATERTIGHT_POSTGRES_URL"]
    assert "postgresql://b" == found["WATERTIGHT_RELAY_POSTGRES_URL"]
    assert "127.0.0.1:4" == found["WATERTIGHT_AUTH_GRPC_TARGET"]
    assert "127.0.0.1:6" == found["WATERTIGHT_ANALYTICS_GRPC_TARGET"]
    assert CREDENTIALS.workload_secrets["backend"] == found["WATERTIGHT_WORKLOAD_SECRET"]


def test_further_settings_have_the_last_word() -> None:
    """A test may set anything of a service."""
    found = variables("backend", AROUND, CREDENTIALS)

    assert ("debug", "::1") == (found["WATERTIGHT_LOG_LEVEL"], found["WATERTIGHT_HOST"])


@pytest.mark.parametrize("service", ["backend", "analytics"])
def test_only_auth_knows_the_keys(service: str) -> None:
    """No other service is given the signing key, the operator's secret or another's secret."""
    found = " ".join(variables(service, AROUND, CREDENTIALS).values())

    (other,) = {"backend", "analytics"} - {service}
    assert CREDENTIALS.operator_secret not in found
    assert CREDENTIALS.workload_secrets[other] not in found
    assert json.loads(CREDENTIALS.signing_key)["d"] not in found


def test_credentials_are_fresh_and_stay_out_of_sight() -> None:
    """Two starts share no secret, and none is shown by accident."""
    other = Credentials.generate(["backend", "analytics"])

    assert CREDENTIALS.signing_key != other.signing_key
    assert CREDENTIALS.operator_secret != other.operator_secret
    assert other.operator_secret not in repr(other)
    assert "kid" in json.loads(other.signing_key)
