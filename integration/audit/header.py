"""A history's first line: the system's description and the plan, as JSON and back."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from integration.audit.population import AuditPlan
from integration.audit.records import Header
from integration.audit.scopes import AllowancePlan, Level, Reach
from integration.audit.system import (
    ChannelPlan,
    MeasurePlan,
    OperationKind,
    OperationPlan,
    SubscriptionPlan,
    SystemDescription,
)
from integration.audit.vocabulary import Channel, Expectation, ObservationClass

FORMAT = "watertight-history"
VERSION = 1
"""Raised when a reader of the former version would misread a file."""


def header_fields(header: Header) -> dict[str, object]:
    """Give a header as what JSON can hold."""
    return {
        "type": "header",
        "format": FORMAT,
        "version": VERSION,
        "system": header.description.name,
        "seed": header.plan.seed,
        "started": header.started,
        "command": header.command,
        "program": header.program,
        "machine": dict(header.machine),
        "plan": asdict(header.plan),
        "description": asdict(header.description),
    }


def header_from(fields: Mapping[str, Any]) -> Header:
    """Read a header; `KeyError`, `TypeError` or `ValueError` when it is none."""
    return Header(
        _description(fields["description"]),
        AuditPlan(**fields["plan"]),
        str(fields["started"]),
        str(fields.get("command", "")),
        str(fields.get("program", "")),
        {str(name): str(fact) for name, fact in fields.get("machine", {}).items()},
    )


def _description(fields: Mapping[str, Any]) -> SystemDescription:
    return SystemDescription(
        **{
            **fields,
            "channels": tuple(map(_channel, fields["channels"])),
            "operations": tuple(map(_operation, fields["operations"])),
            "subscriptions": tuple(map(_subscription, fields["subscriptions"])),
            "measures": tuple(MeasurePlan(**each) for each in fields["measures"]),
            "volatile": tuple(fields["volatile"]),
            "grants": {role: tuple(words) for role, words in fields.get("grants", {}).items()},
        }
    )


def _channel(fields: Mapping[str, Any]) -> ChannelPlan:
    expectation = fields["expectation"]
    return ChannelPlan(
        **{
            **fields,
            "channel": Channel(fields["channel"]),
            "expectation": None if expectation is None else Expectation(expectation),
        }
    )


def _operation(fields: Mapping[str, Any]) -> OperationPlan:
    return OperationPlan(
        **{
            **fields,
            "channel": Channel(fields["channel"]),
            "kind": OperationKind(fields["kind"]),
            "level": Level(fields["level"]),
            "allowed": _allowed(fields["allowed"]),
            "delivers_to": tuple(fields["delivers_to"]),
        }
    )


def _subscription(fields: Mapping[str, Any]) -> SubscriptionPlan:
    return SubscriptionPlan(
        **{
            **fields,
            "channel": Channel(fields["channel"]),
            "level": Level(fields["level"]),
            "allowed": _allowed(fields["allowed"]),
        }
    )


def _allowed(rows: list[list[Any]]) -> tuple[AllowancePlan, ...]:
    return tuple(
        AllowancePlan(ObservationClass(observed), Level(level), Reach(reach))
        for observed, level, reach in rows
    )
