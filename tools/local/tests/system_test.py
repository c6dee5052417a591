import dataclasses
import json
import re
from pathlib import Path

import pytest

from tools.datastores.names import Names
from tools.local.credentials import Credentials
from tools.local.service import Service
from tools.local.system import Address, redis_rules, reserved_addresses, variables
from tools.processes import SpecificationError

_SERVICES = Path(__file__).parents[3] / "services"
_ADDRESSES = {"auth": Address(3, 4), "analytics": Address(5, 6)}
CREDENTIALS = Credentials.generate(["backend", "analytics"])


def _words() -> dict[str, str]:
    addresses = {
        f"{name}_{kind}": value
        for name, address in _ADDRESSES.items()
        for kind, value in (("url", address.url), ("grpc_target", address.grpc_target))
    }
    return {**CREDENTIALS.words(), **addresses}


def _variables(name: str, **more: str) -> dict[str, str]:
    settings = {"POSTGRES_URL": "postgresql://a", **Address(1, 2).settings}
    return variables(Service.read(_SERVICES / name), settings, _words(), more)


def test_backend_is_told_where_the_others_are() -> None:
    """A service gets its own addresses, its datastores and whom it calls."""
    found = _variables("backend")

    assert ("1", "2") == (found["WATERTIGHT_HTTP_PORT"], found["WATERTIGHT_GRPC_PORT"])
    assert "postgresql://a" == found["WATERTIGHT_POSTGRES_URL"]
    assert "127.0.0.1:4" == found["WATERTIGHT_AUTH_GRPC_TARGET"]
    assert "127.0.0.1:6" == found["WATERTIGHT_ANALYTICS_GRPC_TARGET"]
    assert CREDENTIALS.workload_secrets["backend"] == found["WATERTIGHT_WORKLOAD_SECRET"]


def test_further_settings_have_the_last_word() -> None:
    """A test may set anything of a service."""
    found = _variables("backend", LOG_LEVEL="debug", HOST="::1")

    assert ("debug", "::1") == (found["WATERTIGHT_LOG_LEVEL"], found["WATERTIGHT_HOST"])


@pytest.mark.parametrize("service", ["backend", "analytics"])
def test_only_auth_knows_the_keys(service: str) -> None:
    """No other service is given the signing key, the operator's secret or another's secret."""
    found = " ".join(_variables(service).values())

    (other,) = {"backend", "analytics"} - {service}
    assert CREDENTIALS.operator_secret not in found
    assert CREDENTIALS.workload_secrets[other] not in found
    assert json.loads(CREDENTIALS.signing_key)["d"] not in found


def test_auth_knows_all_of_them() -> None:
    """Auth is given what it signs with, and what the others prove themselves with."""
    found = _variables("auth")

    assert CREDENTIALS.signing_key == found["WATERTIGHT_SIGNING_KEY"]
    assert CREDENTIALS.workload_secrets == json.loads(found["WATERTIGHT_WORKLOAD_SECRETS"])


def test_unknown_words_are_told() -> None:
    """A word in `local.json` that nobody knows is named, with the service."""
    service = dataclasses.replace(Service.read(_SERVICES / "auth"), settings={"X": "${nobody_url}"})

    with pytest.raises(SpecificationError, match=r"auth: .*'nobody_url'"):
        variables(service, {}, _words(), {})


@pytest.mark.parametrize(("run", "root"), [("", "wt"), ("0a1b2c3d", "wt-0a1b2c3d")])
@pytest.mark.parametrize("service", ["backend", "analytics"])
def test_redis_rules_admit_one_systems_keys(service: str, run: str, root: str) -> None:
    """Every key and channel in a service's rules begins with what its system's begin with."""
    rules = redis_rules(Service.read(_SERVICES / service), Names(run))
    places = re.findall(r"[~&]([^ )]+)", " ".join(rules))

    assert len(places) > 1
    assert {root} == {place.partition(":")[0] for place in places}


def test_unknown_words_of_rules_are_told() -> None:
    """A word in `access.json` that nobody knows is named, with the service."""
    service = dataclasses.replace(Service.read(_SERVICES / "auth"), redis_rules=["~${key}:*"])

    with pytest.raises(SpecificationError, match=r"auth: .*'key'"):
        redis_rules(service, Names())


def test_reserved_addresses_are_different() -> None:
    """No two processes are given one port."""
    with reserved_addresses(["auth", "backend-1"]) as addresses:
        ports = [port for one in addresses.values() for port in (one.http_port, one.grpc_port)]

    assert 4 == len(set(ports))


def test_credentials_are_fresh_and_stay_out_of_sight() -> None:
    """Two starts share no secret, and none is shown by accident."""
    other = Credentials.generate(["backend", "analytics"])

    assert CREDENTIALS.signing_key != other.signing_key
    assert CREDENTIALS.operator_secret != other.operator_secret
    assert other.operator_secret not in repr(other)
    assert "kid" in json.loads(other.signing_key)
