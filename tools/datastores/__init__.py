"""Real Postgres and Valkey servers for tests and for one's own machine."""

from tools.datastores.addresses import ExternalServers, external_servers
from tools.datastores.datastores import Datastores
from tools.datastores.errors import (
    AclRuleError,
    AdministrationError,
    DatastoreError,
    ExternalServerError,
    LeftOverError,
    MigrationError,
    NotOursError,
    PortsExhaustedError,
    PreparedClusterError,
    ServerAddressError,
    ServerProgramsError,
    ServerRefusedError,
    ServerUnreachableError,
    ServerUnsuitableError,
)
from tools.datastores.external import ExternalDatastores
from tools.datastores.names import Names
from tools.datastores.postgres import PostgresServer
from tools.datastores.preparation import ServiceMigration, build_cluster
from tools.datastores.servers import Administrator, Postgres, Redis, Servers
from tools.datastores.valkey import ValkeyServer, ValkeyUser

__all__ = [
    "AclRuleError",
    "AdministrationError",
    "Administrator",
    "DatastoreError",
    "Datastores",
    "ExternalDatastores",
    "ExternalServerError",
    "ExternalServers",
    "LeftOverError",
    "MigrationError",
    "Names",
    "NotOursError",
    "PortsExhaustedError",
    "Postgres",
    "PostgresServer",
    "PreparedClusterError",
    "Redis",
    "ServerAddressError",
    "ServerProgramsError",
    "ServerRefusedError",
    "ServerUnreachableError",
    "ServerUnsuitableError",
    "Servers",
    "ServiceMigration",
    "ValkeyServer",
    "ValkeyUser",
    "build_cluster",
    "external_servers",
]
