import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tools.datastores import AclRuleError, ValkeyServer
from tools.datastores.tests.connections import listeners, owners
from tools.processes import ProcessDiedError

_RULES = ["~wt:alpha:*", "&wt:alpha:*", "+get", "+set", "+publish", "+ping"]


def client(url: str) -> redis.Redis:
    """A client that does not try again."""
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=5.0)


@pytest.fixture(scope="module")
def alpha(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    """A service's client, beside which another service has data."""
    valkey.add_user("alpha", _RULES)
    valkey.admin.set("wt:beta:secret", "other")
    with client(valkey.url("alpha")) as connection:
        yield connection


def test_user_does_what_its_rules_say(alpha: redis.Redis) -> None:
    """Its own commands on its own keys and channels work."""
    alpha.set("wt:alpha:key", "value")

    assert b"value" == alpha.get("wt:alpha:key")
    assert 0 == alpha.publish("wt:alpha:channel", "wake")


@pytest.mark.parametrize(
    "command",
    [
        "GET wt:beta:secret",
        "SET wt:beta:secret mine",
        "GET wt:alphabet",
        "PUBLISH wt:beta:channel x",
        "SCAN 0",
        "KEYS *",
        "RANDOMKEY",
        "DBSIZE",
        "PUBSUB CHANNELS",
        "CLIENT LIST",
        "CLIENT TRACKING ON BCAST",
        "MONITOR",
        "FLUSHALL",
        "FUNCTION FLUSH",
        "CONFIG GET *",
        "ACL LIST",
        "INFO",
        "EVAL return 0",
        "DEL wt:alpha:key",
    ],
)
def test_user_does_nothing_else(alpha: redis.Redis, command: str) -> None:
    """Neither others' keys and channels, nor their names, nor the server, nor what is unlisted."""
    with pytest.raises(redis.exceptions.NoPermissionError):
        alpha.execute_command(*command.split())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{}", "redis://default:guess@127.0.0.1:{}"])
def test_default_user_is_off(valkey: ValkeyServer, url: str) -> None:
    """Without a user of one's own there is no command at all."""
    with client(url.format(valkey.port)) as connection, pytest.raises(redis.AuthenticationError):
        connection.ping()


def test_wrong_password_is_refused(valkey: ValkeyServer, alpha: redis.Redis) -> None:
    """Another user's password does not do."""
    del alpha
    url = valkey.admin_url.replace("//admin:", "//alpha:")

    with client(url) as connection, pytest.raises(redis.AuthenticationError):
        connection.ping()


@pytest.mark.parametrize(
    "rule",
    [
        "+@all",
        "+@read",
        "-@dangerous",
        "allcommands",
        "~*",
        "~**",
        "%RW~*",
        "allkeys",
        "&*",
        "allchannels",
        "nopass",
        ">secret",
        "#" + "0" * 64,
        "on",
        "reset",
        "(~* +get)",
        "(~wt:* +@read)",
        "(~wt:* +get",
        "(~wt:* (+get))",
        "(~wt:*  +get)",
        "()",
        "",
        "~a b",
    ],
)
def test_rules_beyond_an_exact_list_are_refused(valkey: ValkeyServer, rule: str) -> None:
    """Categories leak, and passwords are the server's part: neither is taken."""
    with pytest.raises(AclRuleError, match="is refused: grant single commands"):
        valkey.add_user("careless", ["+get", rule])

    assert "careless" not in valkey.admin.acl_users()


@pytest.mark.parametrize(
    "rule",
    [
        "+get",
        "+client|setname",
        "%W~wt:stream:usage",
        "%RW~wt:*",
        "&wt:a:*",
        "resetkeys",
        "(%W~wt:stream:usage +xadd +xlen)",
    ],
)
def test_exact_rules_are_taken(valkey: ValkeyServer, rule: str) -> None:
    """Single commands and subcommands, patterns with a prefix, and what takes rights away."""
    valkey.add_user("careful", [rule])
    valkey.admin.acl_deluser("careful")


def test_selector_gives_its_commands_on_its_keys_alone(valkey: ValkeyServer) -> None:
    """What a user may do to its own keys it may not do to a selector's, nor the other way round."""
    valkey.add_user("gamma", ["~wt:gamma:*", "+set", "+del", "(%W~wt:stream +xadd)"])
    with client(valkey.url("gamma")) as gamma:
        gamma.set("wt:gamma:key", "value")
        gamma.xadd("wt:stream", {"field": "value"})
        for command in ("SET wt:stream x", "DEL wt:stream", "XADD wt:gamma:key * field value"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                gamma.execute_command(*command.split())
    valkey.admin.acl_deluser("gamma")


@pytest.mark.parametrize("name", ["", "admin", "default", "Alpha", "a b"])
def test_names_that_are_no_users_names_are_refused(valkey: ValkeyServer, name: str) -> None:
    """The administrator and the default user cannot be replaced."""
    with pytest.raises(ValueError, match="is no name for a service's user"):
        valkey.add_user(name, ["+get"])


def test_unknown_user_has_no_url(valkey: ValkeyServer) -> None:
    """A mistyped user is said back."""
    with pytest.raises(KeyError, match="no user 'nobody'"):
        valkey.url("nobody")


def test_server_listens_on_the_loopback_alone_and_is_not_root(valkey: ValkeyServer) -> None:
    """Other machines cannot even knock, and whoever breaks in is somebody without rights."""
    assert {"0100007F"} == listeners(valkey.port)
    assert 0 not in owners(valkey.process.pid)


def test_passwords_are_on_no_command_line_and_in_no_log(valkey: ValkeyServer) -> None:
    """Other processes of the machine can read command lines."""
    command = Path(f"/proc/{valkey.process.pid}/cmdline").read_bytes().decode()
    password = valkey.admin_url.split(":")[2].partition("@")[0]

    assert str(valkey.port) in command
    assert password not in command
    assert password not in valkey.process.log_path.read_text()


@pytest.mark.parametrize("durable", [False, True])
def test_restart_keeps_port_and_users_and_data_if_durable(*, durable: bool) -> None:
    """Clients find the server where it was; what it remembers is a matter of durability."""
    with ValkeyServer(durable=durable) as server:
        server.add_user("alpha", _RULES)
        url = server.url("alpha")
        with client(url) as connection:
            connection.set("wt:alpha:key", "value")

        server.restart()

        assert url == server.url("alpha")
        with client(url) as connection:
            assert (b"value" if durable else None) == connection.get("wt:alpha:key")
            with pytest.raises(redis.exceptions.NoPermissionError):
                connection.keys()


def test_kill_loses_no_acknowledged_write_if_durable() -> None:
    """Every write is on disk before it is acknowledged."""
    with ValkeyServer(durable=True) as server:
        server.admin.set("key", "value")
        server.kill()

        server.process.start()

        assert b"value" == server.admin.get("key")


def test_paused_server_answers_when_it_is_resumed(valkey: ValkeyServer) -> None:
    """A frozen server times out, and goes on later."""
    with redis.Redis.from_url(
        valkey.admin_url, retry=Retry(NoBackoff(), 0), socket_timeout=0.1
    ) as connection:
        connection.ping()
        valkey.process.pause()
        with pytest.raises(redis.TimeoutError):
            connection.ping()
        valkey.process.resume()

        assert connection.ping()


def test_death_of_the_server_is_reported() -> None:
    """A server that died by itself does not end quietly."""
    server = ValkeyServer()
    server.start()
    server.process.signal(signal.SIGKILL)
    server.process.wait_exit(5.0)

    with pytest.raises(ProcessDiedError, match="SIGKILL"):
        server.stop()
