"""Real Postgres and Valkey servers for tests and for one's own machine."""

from tools.datastores.datastores import Datastores
from tools.datastores.errors import (
    AclRuleError,
    AdministrationError,
    DatastoreError,
    MigrationError,
    PortsExhaustedError,
    PreparedClusterError,
    ServerProgramsError,
)
from tools.datastores.postgres import PostgresServer
from tools.datastores.preparation import ServiceMigration, build_cluster
from tools.datastores.valkey import ValkeyServer, ValkeyUser

__all__ = [
    "AclRuleError",
    "AdministrationError",
    "DatastoreError",
    "Datastores",
    "MigrationError",
    "PortsExhaustedError",
    "PostgresServer",
    "PreparedClusterError",
    "ServerProgramsError",
    "ServiceMigration",
    "ValkeyServer",
    "ValkeyUser",
    "build_cluster",
]
