"""The database of one service: its roles, who may connect, and copies of it.

A service has a database, an owner that only migrations use, and login roles that own nothing. No
login role may connect to another service's database, nor to ``postgres`` or the templates.
"""

import re
from collections.abc import Iterable, Sequence

from tools.datastores.administration import Administration
from tools.datastores.passwords import scram_verifier

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_TEMPLATE_SUFFIX = "_template"

# Large objects rest in one table without row-level security; any role could make them, and read
# those that another has opened to it. Databases that are made from template1 inherit this.
_REVOKE_LARGE_OBJECTS = """
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
            AND proname ~ '^lo(_|read$|write$)'
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END
$$
"""


def checked(name: str) -> str:
    """The name of a role or database, if it may stand in SQL as it is; else raises ValueError."""
    if not _NAME.fullmatch(name):
        message = f"{name!r} is no name: lower-case letters, digits and underscores, 48 at most"
        raise ValueError(message)
    return name


def owner_of(service: str) -> str:
    """The role that owns a service's database and tables."""
    return f"{checked(service)}_owner"


def service_role_of(service: str) -> str:
    """The role that the service itself logs in as."""
    return f"{checked(service)}_service"


def template_of(service: str) -> str:
    """The copy of a service's migrated database that further copies are made of."""
    return f"{checked(service)}{_TEMPLATE_SUFFIX}"


# Where the server is the system's own: a copy of files. It takes checkpoints, which on a server of
# somebody else's would be everybody's.
OWN_COPY = "STRATEGY FILE_COPY"
# There, the same on every server: nothing of its template1, and sorted by code points.
SHARED_CREATION = (
    "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
)
SHARED_COPY = "STRATEGY WAL_LOG"


def close_to_public(admin: Administration) -> None:
    """Takes from everybody what a new cluster grants; adds pg_stat_statements for the superuser."""
    admin.execute(
        "REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        _REVOKE_LARGE_OBJECTS,
        "CREATE EXTENSION pg_stat_statements",
    )
    close_database(admin, "template1")


def close_database(admin: Administration, database: str) -> None:
    """Takes from everybody what a database grants on its inside; copies of it inherit that."""
    admin.execute(
        "REVOKE ALL ON SCHEMA public FROM PUBLIC", _REVOKE_LARGE_OBJECTS, database=database
    )


def create_login_role(admin: Administration, role: str) -> None:
    """A role that may log in, once it has a password, and do nothing else."""
    admin.execute(
        f"CREATE ROLE {checked(role)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT"
        " NOREPLICATION NOBYPASSRLS"
    )


def create_service_database(
    admin: Administration, service: str, login_roles: Sequence[str], *, creation: str = OWN_COPY
) -> None:
    """Roles and an empty database. The owner may log in, until `close_preparation`."""
    owner = owner_of(service)
    create_login_role(admin, owner)
    for role in login_roles:
        create_login_role(admin, role)
    admin.execute(
        f"CREATE DATABASE {service} OWNER {owner} {creation}",
        f"REVOKE ALL ON DATABASE {service} FROM PUBLIC",
        _grant_connect(service, login_roles),
    )
    admin.execute(
        f"ALTER SCHEMA public OWNER TO {owner}",
        f"GRANT USAGE ON SCHEMA public TO {', '.join(login_roles)}",
        database=service,
    )


def close_preparation(admin: Administration, service: str, *, copy: str = OWN_COPY) -> None:
    """Ends a migration: the owner may no longer log in, and the template is made."""
    admin.execute(f"ALTER ROLE {owner_of(service)} NOLOGIN")
    template = template_of(service)
    _copy(admin, service, template, f"ALTER DATABASE {template} IS_TEMPLATE true", copy)


def copy_service_database(
    admin: Administration, service: str, name: str, *, copy: str = OWN_COPY
) -> None:
    """An isolated copy of a service's migrated, empty database, open to the same login roles."""
    opened = f"ALTER DATABASE {checked(name)} ALLOW_CONNECTIONS true"
    _copy(admin, template_of(service), name, opened, copy)


def create_empty_database(admin: Administration, name: str, *, creation: str = OWN_COPY) -> None:
    """A database that belongs to the superuser and that no role may connect to yet."""
    admin.execute(
        f"CREATE DATABASE {checked(name)} {creation}",
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
    )


def grant_connect(admin: Administration, database: str, role: str) -> None:
    """Lets a role connect to a database and see its public schema."""
    admin.execute(
        _grant_connect(database, [role]),
        f"GRANT USAGE ON SCHEMA public TO {role}",
        database=database,
    )


def drop_database(admin: Administration, name: str) -> None:
    """Drops a database, and ends whatever is connected to it."""
    admin.execute(f"DROP DATABASE {checked(name)} WITH (FORCE)")


def login_roles(admin: Administration) -> list[str]:
    """All roles that may log in, but for the superuser."""
    rows = admin.fetch(
        "SELECT rolname::text AS name FROM pg_roles"
        " WHERE rolcanlogin AND NOT rolsuper ORDER BY rolname"
    )
    return [str(row["name"]) for row in rows]


def databases(admin: Administration) -> list[str]:
    """The databases that can be connected to, but for the cluster's own."""
    rows = admin.fetch(
        "SELECT datname::text AS name FROM pg_database"
        " WHERE datallowconn AND datname NOT IN ('postgres', 'template1') ORDER BY datname"
    )
    return [str(row["name"]) for row in rows]


def set_passwords(admin: Administration, passwords: Iterable[tuple[str, str]]) -> None:
    """Gives roles their passwords, which the server never sees in the clear."""
    statements = [
        f"ALTER ROLE {checked(role)} PASSWORD '{scram_verifier(password)}'"
        for role, password in passwords
    ]
    if statements:
        admin.execute(";".join(statements))


def _copy(admin: Administration, source: str, name: str, then: str, copy: str) -> None:
    """Copies a database with its owner and its grants, before which nobody can connect to it."""
    # A copy inherits what is inside of the database, and not who may connect to it.
    rows = admin.fetch(
        "SELECT pg_get_userbyid(datdba)::text AS owner, array(SELECT grantee::regrole::text"
        " FROM aclexplode(datacl) WHERE privilege_type = 'CONNECT' AND grantee <> datdba) AS roles"
        " FROM pg_database WHERE datname = $1",
        source,
    )
    if not rows:
        message = f"there is no database {source!r} to copy"
        raise ValueError(message)
    owner, roles = rows[0]["owner"], rows[0]["roles"]
    assert isinstance(roles, list)  # noqa: S101 - narrows the type
    admin.execute(
        f"CREATE DATABASE {name} TEMPLATE {source} {copy} OWNER {owner} ALLOW_CONNECTIONS false",
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        _grant_connect(name, roles),
        then,
    )


def _grant_connect(database: str, roles: Sequence[str]) -> str:
    return f"GRANT CONNECT ON DATABASE {checked(database)} TO {', '.join(map(checked, roles))}"
