import json
from pathlib import Path

from integration.audit import Allowance, Channel, ObservationClass, Scope
from integration.systems.watertight.logs import observe_log
from tools.datastores import PostgresServer, ValkeyServer


def test_line_is_attributed_by_what_it_states(tmp_path: Path) -> None:
    """A structured line says whose it is and in which trace."""
    log = tmp_path / "backend-1.log"
    line = {"event": "stored", "trace_id": "f" * 32, "tenant_id": "t", "thread_id": "th"}
    log.write_text(f"{json.dumps(line)}\n")

    (seen,) = observe_log("backend-1", log, {})

    assert Channel.LOGS == seen.channel
    assert {"trace": "f" * 32, "tenant": "t", "thread": "th"} == seen.attribution
    assert "backend-1 log" == seen.source


def test_line_that_states_nobody_may_name_nobody(tmp_path: Path) -> None:
    """Free text, and lines about the service itself, are allowed to hold nothing of anybody."""
    log = tmp_path / "auth.log"
    log.write_text('Traceback of something\n{"event": "ready"}\n[1, 2]\n\n')

    seen = list(observe_log("auth", log, {}))

    assert 3 == len(seen)
    assert [()] * 3 == [each.allowed for each in seen]


def test_line_of_an_administrator_may_name_users_of_the_tenant(tmp_path: Path) -> None:
    """Who makes a user says in the log whom; the tenant is the end of it, and identifiers are."""
    log = tmp_path / "auth.log"
    log.write_text('{"event": "user created", "user_id": "root-1", "created_user_id": "ann-1"}\n')

    (seen,) = observe_log("auth", log, {"root-1": Scope("tenant-0")})

    assert (Allowance(ObservationClass.IDENTIFIER, Scope("tenant-0")),) == seen.allowed


def test_what_a_datastore_logs_is_seen_and_may_name_nobody(
    postgres: PostgresServer, valkey: ValkeyServer
) -> None:
    """A statement that Postgres writes down whole is seen with the content that it holds."""
    postgres.admin.execute("DO $$ BEGIN RAISE LOG 'canary of user-1'; END $$")

    seen = list(observe_log("postgres", postgres.process.log_path, {}))

    (found,) = (each for each in seen if "canary of user-1" in str(each.data))
    assert (Channel.LOGS, {}, ()) == (found.channel, found.attribution, found.allowed)
    assert list(observe_log("valkey", valkey.process.log_path, {}))
