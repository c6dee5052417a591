"""The audit: drives a system and proves whether anybody observes what belongs to another.

It knows no system; an `Adapter` tells it about one. README.md is the guide.
"""

from integration.audit.adapter import (
    Adapter,
    Call,
    Issued,
    Observation,
    Outcome,
    Reading,
    Result,
    Subscription,
)
from integration.audit.command import Launch, SeededLeak, main
from integration.audit.errors import (
    AuditError,
    CorruptHistoryError,
    HistoryError,
    IdentifierError,
    NotAHistoryError,
    PlanError,
    ReportDirectoryError,
    SubscriptionRefusedError,
    UnsupportedVersionError,
)
from integration.audit.machine import machine_facts
from integration.audit.pages import write_report
from integration.audit.population import (
    MAIN_SESSION,
    SECOND_SESSION,
    AuditPlan,
    Population,
    Principal,
    User,
)
from integration.audit.report import Report, check_history
from integration.audit.runner import HISTORY_NAME, SILENT, Progress, run_audit
from integration.audit.scopes import EVERYTHING, Allowance, AllowancePlan, Level, Reach, Scope
from integration.audit.system import (
    ADMINISTRATOR,
    MEMBER,
    ChannelPlan,
    MeasurePlan,
    OperationKind,
    OperationPlan,
    SubscriptionPlan,
    SystemDescription,
)
from integration.audit.vocabulary import (
    Anomaly,
    Channel,
    ExitCode,
    Expectation,
    ObservationClass,
    Verdict,
)
from integration.audit.witness import Witness

__all__ = [
    "ADMINISTRATOR",
    "EVERYTHING",
    "HISTORY_NAME",
    "MAIN_SESSION",
    "MEMBER",
    "SECOND_SESSION",
    "SILENT",
    "Adapter",
    "Allowance",
    "AllowancePlan",
    "Anomaly",
    "AuditError",
    "AuditPlan",
    "Call",
    "Channel",
    "ChannelPlan",
    "CorruptHistoryError",
    "ExitCode",
    "Expectation",
    "HistoryError",
    "IdentifierError",
    "Issued",
    "Launch",
    "Level",
    "MeasurePlan",
    "NotAHistoryError",
    "Observation",
    "ObservationClass",
    "OperationKind",
    "OperationPlan",
    "Outcome",
    "PlanError",
    "Population",
    "Principal",
    "Progress",
    "Reach",
    "Reading",
    "Report",
    "ReportDirectoryError",
    "Result",
    "Scope",
    "SeededLeak",
    "Subscription",
    "SubscriptionPlan",
    "SubscriptionRefusedError",
    "SystemDescription",
    "UnsupportedVersionError",
    "User",
    "Verdict",
    "Witness",
    "check_history",
    "machine_facts",
    "main",
    "run_audit",
    "write_report",
]
