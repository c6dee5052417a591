"""The running system: prepared datastores, three services, control of each process."""

from integration.environment.credentials import Credentials
from integration.environment.environment import Environment
from integration.environment.programs import SERVICES, Access, Programs

__all__ = ["SERVICES", "Access", "Credentials", "Environment", "Programs"]
