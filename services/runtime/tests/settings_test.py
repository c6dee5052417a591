from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from services.runtime.settings import ServiceSettings, UserServiceSettings, load_settings

_URL = "postgresql+asyncpg://probe_service:hidden-password@127.0.0.1:1/probe"
_SECRET = "s" * 32


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The least that a service for users needs."""
    monkeypatch.setenv("WATERTIGHT_POSTGRES_URL", _URL)
    monkeypatch.setenv("WATERTIGHT_REDIS_URL", "redis://probe:hidden@127.0.0.1:1/0")
    monkeypatch.setenv("WATERTIGHT_AUTH_GRPC_TARGET", "127.0.0.1:1234")
    monkeypatch.setenv("WATERTIGHT_WORKLOAD_SECRET", _SECRET)
    return monkeypatch


def test_defaults_are_safe(environment: pytest.MonkeyPatch) -> None:
    """Loopback, ports that the kernel chooses, and no export, unless said otherwise."""
    environment.setenv("WATERTIGHT_SOMETHING_ELSE", "ignored")
    settings = load_settings(UserServiceSettings)

    assert ("127.0.0.1", 0, 0, "") == (
        settings.host,
        settings.http_port,
        settings.grpc_port,
        settings.otlp_endpoint,
    )
    assert _URL == settings.postgres_url.get_secret_value()
    assert "wt" == settings.redis_namespace


@pytest.mark.usefixtures("environment")
def test_secrets_are_not_shown() -> None:
    """Neither text nor representation of the settings holds a password."""
    settings = load_settings(UserServiceSettings)

    assert isinstance(settings.workload_secret, SecretStr)
    for hidden in (_SECRET, "hidden"):
        assert hidden not in f"{settings} {settings!r}"
    with pytest.raises(ValidationError):
        setattr(settings, "host", "0.0.0.0")  # noqa: B010 -- mypy knows that it is frozen


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PORT", "65536"),
        ("GRPC_PORT", "-1"),
        ("HTTP_PORT", "no-number-4711"),
        ("POSTGRES_POOL_SIZE", "0"),
        ("LOG_LEVEL", "chatty-4711"),
        ("OTLP_ENDPOINT", "nowhere-4711"),
        ("AUTH_GRPC_TARGET", "http://host-4711"),
        ("WORKLOAD_SECRET", "short-4711"),
        ("REDIS_URL", ""),
        ("REDIS_NAMESPACE", ""),
        ("REDIS_NAMESPACE", "wt:4711"),
        ("REDIS_NAMESPACE", "*4711"),
        ("REDIS_NAMESPACE", "4711"),
        ("REDIS_NAMESPACE", f"w{'4711' * 8}"),
    ],
)
def test_wrong_settings_end_the_process(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
) -> None:
    """The one line says which variable, and not what it holds."""
    environment.setenv(f"WATERTIGHT_{variable}", value)
    with pytest.raises(SystemExit) as ended:
        load_settings(UserServiceSettings)
    (line,) = capsys.readouterr().err.splitlines()

    assert 78 == ended.value.code
    assert line.startswith(f"configuration: WATERTIGHT_{variable}: ")
    assert "4711" not in line


def test_every_problem_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each problem, so that one start finds all of them."""
    monkeypatch.setenv("WATERTIGHT_HTTP_PORT", "x")
    with pytest.raises(SystemExit):
        load_settings(ServiceSettings)

    first, second = capsys.readouterr().err.splitlines()

    assert "configuration: WATERTIGHT_POSTGRES_URL: not set" == first
    assert second.startswith("configuration: WATERTIGHT_HTTP_PORT: Input should be a valid integer")
