"""The running system: prepared datastores, three services, control of each process."""

from integration.environment.environment import Environment
from integration.environment.programs import SERVICES, Programs
from tools.datastores import Names
from tools.local.credentials import Credentials

__all__ = ["SERVICES", "Credentials", "Environment", "Names", "Programs"]
