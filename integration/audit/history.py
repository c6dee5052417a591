"""Writes a history: one JSON object a line, appended and flushed while the audit runs.

README.md documents the format. Whatever has been observed when the process dies is in the file.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic_ns
from types import TracebackType
from typing import Self, TypeVar

from integration.audit.adapter import Observation, Outcome, Subscription
from integration.audit.encodings import as_text
from integration.audit.header import header_fields
from integration.audit.identifiers import Identifier
from integration.audit.machine import machine_facts
from integration.audit.population import AuditPlan, Population
from integration.audit.records import Header, Invoked
from integration.audit.scopes import Allowance, Scope
from integration.audit.system import SystemDescription

_Value = TypeVar("_Value", str, int)

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class HistoryWriter:
    """An open history. Times are nanoseconds since it was opened, on one monotonic clock."""

    def __init__(
        self,
        path: Path,
        description: SystemDescription,
        plan: AuditPlan,
        *,
        started: datetime | None = None,
        command: str = "",
        program: str = "",
    ) -> None:
        """Create the file, which must not exist, and write its header."""
        self._file = path.open("x", encoding="ascii")
        self._origin = monotonic_ns()
        self._numbers: dict[Scope, int] = {}
        moment = started or datetime.now(UTC)
        try:
            header = Header(
                description, plan, moment.isoformat(), command, program, machine_facts()
            )
            self._append(header_fields(header))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        """Use the history until the block ends."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file; without `ended` it stays an unfinished history."""
        self._file.close()

    def time(self) -> int:
        """Give nanoseconds since the history was opened."""
        return monotonic_ns() - self._origin

    def scope(self, scope: Scope) -> int:
        """Give the number of a scope, declaring it when it is new."""
        if not isinstance(scope, Scope):
            raise TypeError(f"a Scope is due, but {scope!r} came")
        number = self._numbers.get(scope)
        if number is None:
            number = self._numbers[scope] = len(self._numbers)
            self._append({"type": "scope", "number": number, "scope": list(scope)})
        return number

    def population(self, population: Population) -> None:
        """Declare everybody who takes part."""
        for scope in population.scopes():
            self.scope(scope)
        for principal in population.principals:
            self._append(
                {
                    "type": "principal",
                    "name": principal.name,
                    "scope": self.scope(principal.scope),
                    "authority": self.scope(principal.authority),
                    "login": principal.login,
                    "role": principal.role,
                    "session": principal.session,
                }
            )

    def identifier(self, identifier: Identifier) -> None:
        """Record that the system gave an identifier to its owner."""
        self._append(
            {
                "type": "identifier",
                "kind": identifier.kind,
                "value": identifier.value,
                "owner": self.scope(identifier.owner),
                "operation": identifier.operation,
            }
        )

    def invoked(self, invoked: Invoked) -> None:
        """Record an operation before it is sent."""
        fields: dict[str, object] = {
            "type": "invoked",
            "operation": invoked.number,
            "name": invoked.name,
            "principal": invoked.principal,
            "scope": self.scope(invoked.scope),
            "trace": invoked.trace,
            "time": invoked.time,
        }
        _add_set(fields, "canaries", invoked.canaries)
        _add_set(fields, "mentions", invoked.mentions)
        _add_set(fields, "absent", invoked.absent)
        _add_set(fields, "final", invoked.final)
        if invoked.twin is not None:
            fields["twin"] = invoked.twin
        self._append(fields)

    def completed(self, number: int, outcome: Outcome) -> None:
        """Record how an operation ended, with what came back."""
        fields: dict[str, object] = {
            "type": outcome.result.value,
            "operation": number,
            "status": _checked(outcome.status, str),
            "time": self.time(),
        }
        _add_set(fields, "mentions", [_checked(each, str) for each in outcome.mentions])
        _add_set(fields, "session", _checked(outcome.session, str))
        if outcome.observations:
            fields["observations"] = [self._observation(each) for each in outcome.observations]
        if outcome.readings:
            fields["readings"] = [
                [
                    _checked(reading.measure, str),
                    _checked(reading.value, int),
                    None if reading.scope is None else self.scope(reading.scope),
                ]
                for reading in outcome.readings
            ]
        self._append(fields)

    def subscribed(self, subscription: Subscription) -> None:
        """Record that the system acknowledged a standing connection."""
        self._append(
            {
                "type": "subscribed",
                "subscription": subscription.number,
                "name": subscription.plan.name,
                "principal": subscription.principal.name,
                "scope": self.scope(subscription.scope),
                "time": self.time(),
            }
        )

    def unsubscribed(self, number: int, reason: str, status: str = "") -> None:
        """Record that a standing connection has ended, and why."""
        self._append(
            {
                "type": "unsubscribed",
                "subscription": number,
                "time": self.time(),
                "reason": reason,
                "status": status,
            }
        )

    def observed(self, observation: Observation, subscription: int | None = None) -> None:
        """Record something that was seen outside any operation's answer."""
        fields: dict[str, object] = {
            "type": "observed",
            "time": self.time(),
            "observation": self._observation(observation),
        }
        if subscription is not None:
            fields["subscription"] = subscription
        self._append(fields)

    def note(self, kind: str, text: str) -> None:
        """Record something that a reader of the verdict must know."""
        self._append({"type": "note", "time": self.time(), "kind": kind, "text": text})

    def ended(self) -> None:
        """Record that the history is whole."""
        self._append({"type": "ended", "time": self.time()})

    def _observation(self, observation: Observation) -> dict[str, object]:
        fields: dict[str, object] = {
            "channel": observation.channel.value,
            "data": as_text(observation.data),
        }
        if observation.scope is not None:
            fields["scope"] = self.scope(observation.scope)
        if observation.allowed is not None:
            fields["allowed"] = [self._allowance(each) for each in observation.allowed]
        if observation.attribution:
            fields["attribution"] = {
                _checked(name, str): _checked(value, str)
                for name, value in observation.attribution.items()
            }
        _add_set(fields, "source", _checked(observation.source, str))
        _add_set(fields, "stream", _checked(observation.stream, str))
        if observation.sequence is not None:
            fields["sequence"] = _checked(observation.sequence, int)
        return fields

    def _allowance(self, allowance: Allowance) -> list[object]:
        return [allowance.observed.value, self.scope(allowance.scope), allowance.reach.value]

    def _append(self, fields: dict[str, object]) -> None:
        self._file.write(_encode(fields) + "\n")
        self._file.flush()


def _checked(value: _Value, kind: type[_Value]) -> _Value:
    """Refuse what an adapter made up: it would be read back as a corrupt history."""
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} is due, but {value!r} came")
    return value


def _add_set(fields: dict[str, object], name: str, value: object) -> None:
    """Add a field unless it is empty: most are, and a history is large."""
    if value:
        fields[name] = value
