"""What a service's login could ask a datastore about others, beside their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class View:
    """A query that any role may try; `empty` says that even its number of rows would tell."""

    sql: str
    empty: bool = False


VIEWS: Final[Mapping[str, View]] = MappingProxyType(
    {
        "activity": View("SELECT * FROM pg_stat_activity"),
        "advisory locks": View("SELECT * FROM pg_locks WHERE locktype = 'advisory'", empty=True),
        "column statistics": View("SELECT * FROM pg_stats WHERE schemaname = 'public'", empty=True),
        "extended statistics": View("SELECT * FROM pg_stats_ext", empty=True),
        "raw statistics": View("SELECT * FROM pg_statistic", empty=True),
        # Of a sequence that tenants share the last value tells how much the others do.
        "sequences": View("SELECT * FROM pg_sequences WHERE last_value IS NOT NULL", empty=True),
        "comments": View(
            "SELECT description FROM pg_description JOIN pg_class ON objoid = pg_class.oid"
            " WHERE relnamespace = 'public'::regnamespace",
            empty=True,
        ),
        "comments on what is shared": View("SELECT description FROM pg_shdescription"),
        "large objects": View("SELECT * FROM pg_largeobject_metadata", empty=True),
        "locks": View("SELECT * FROM pg_locks"),
        "policies": View("SELECT * FROM pg_policies"),
        "prepared statements": View("SELECT * FROM pg_prepared_statements"),
        "prepared transactions": View("SELECT * FROM pg_prepared_xacts", empty=True),
        "roles": View("SELECT * FROM pg_roles"),
        "settings of roles": View("SELECT * FROM pg_db_role_setting"),
        "statements": View("SELECT * FROM pg_stat_statements", empty=True),
        "passwords": View("SELECT * FROM pg_authid", empty=True),
        "replication": View("SELECT * FROM pg_stat_replication", empty=True),
        "files": View("SELECT pg_ls_dir('.')", empty=True),
        "logs": View("SELECT pg_ls_logdir()", empty=True),
        "configuration": View("SELECT pg_read_file('pg_hba.conf')", empty=True),
    }
)
"""Catalogues and statistics of PostgreSQL."""

REDIS_METADATA: Final = (
    "ACL LIST",
    "ACL LOG",
    "ACL GETUSER default",
    "ACL USERS",
    "CLIENT LIST",
    "CLIENT INFO",
    "CLIENT KILL ID 1",
    "CLIENT TRACKING on BCAST",
    "COMMAND LIST",
    "CONFIG GET *",
    "DBSIZE",
    "FUNCTION LIST",
    "INFO",
    "KEYS *",
    "LATENCY LATEST",
    "MEMORY STATS",
    "MEMORY USAGE wt",
    "MONITOR",
    "OBJECT FREQ wt",
    "PSUBSCRIBE *",
    "PUBSUB CHANNELS",
    "PUBSUB NUMPAT",
    "RANDOMKEY",
    "SCAN 0",
    "SCRIPT EXISTS a",
    "SLOWLOG GET",
    "XINFO STREAM wt",
)
"""Commands of Redis that tell of others' connections, keys, channels or commands."""
