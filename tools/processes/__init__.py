"""Processes: started in dependency order, watched, controlled, and never left behind."""

from tools.processes.errors import (
    HealthLimitError,
    LauncherError,
    ProcessDiedError,
    ProcessError,
    SpawnError,
    SpecificationError,
    StopLimitError,
)
from tools.processes.folders import WorkingFolder
from tools.processes.ports import PortReservation, reserve_port
from tools.processes.readiness import HttpReady, Ready, ReadyLine, ReadyProbe, TcpReady
from tools.processes.specification import ProcessSpecification, unprivileged_user
from tools.processes.startup import StartupRecord
from tools.processes.supervised import SupervisedProcess
from tools.processes.supervisor import Supervisor

__all__ = [
    "HealthLimitError",
    "HttpReady",
    "LauncherError",
    "PortReservation",
    "ProcessDiedError",
    "ProcessError",
    "ProcessSpecification",
    "Ready",
    "ReadyLine",
    "ReadyProbe",
    "SpawnError",
    "SpecificationError",
    "StartupRecord",
    "StopLimitError",
    "SupervisedProcess",
    "Supervisor",
    "TcpReady",
    "WorkingFolder",
    "reserve_port",
    "unprivileged_user",
]
