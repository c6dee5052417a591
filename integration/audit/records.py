"""What a history consists of, as values: one for each line of its file."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from integration.audit.adapter import Observation, Reading, Result
from integration.audit.identifiers import Identifier
from integration.audit.population import AuditPlan, Principal
from integration.audit.scopes import Scope
from integration.audit.system import SystemDescription


class Header(NamedTuple):
    """The first line: what was driven, how, and from which seed."""

    description: SystemDescription
    plan: AuditPlan
    started: str
    """Wall-clock time (RFC 3339), for people; every other time is monotonic, from this moment."""
    command: str = ""
    """What was typed to run it; empty where no command line did."""
    program: str = ""
    """What of that stands before the arguments, for whoever wants to type others."""
    machine: Mapping[str, str] = MappingProxyType({})
    """What it ran on."""


class ScopeDeclared(NamedTuple):
    """A scope gets the number under which later lines and canaries name it."""

    number: int
    scope: Scope


class PrincipalDeclared(NamedTuple):
    """Somebody who acts later on."""

    principal: Principal


class IdentifierIssued(NamedTuple):
    """The system gave an identifier to its owner."""

    identifier: Identifier


class Invoked(NamedTuple):
    """An operation is about to be sent."""

    number: int
    name: str
    principal: str
    scope: Scope
    trace: str
    time: int
    """Nanoseconds since the start, as all times here."""
    canaries: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    """Others' identifiers that the caller sends."""
    absent: bool = False
    twin: int | None = None
    """The operation that asks the same of an object that exists."""
    final: bool = False


class Completed(NamedTuple):
    """An operation has ended, or nobody waits for it any more."""

    number: int
    result: Result
    status: str
    time: int
    observations: tuple[Observation, ...] = ()
    readings: tuple[Reading, ...] = ()
    mentions: tuple[str, ...] = ()
    session: str = ""


class Subscribed(NamedTuple):
    """A standing connection was acknowledged."""

    number: int
    name: str
    principal: str
    scope: Scope
    time: int


class Closing:
    """Why a standing connection ended."""

    FINISHED = "finished"
    """By the audit, after everything that was due had time to arrive."""
    SERVER = "server"
    """By the system."""
    REFUSED = "refused"
    """The system never opened it."""


class Unsubscribed(NamedTuple):
    """A standing connection has ended."""

    number: int
    time: int
    reason: str
    status: str = ""


class Observed(NamedTuple):
    """Something was seen outside any operation's answer."""

    time: int
    observation: Observation
    subscription: int | None = None


class NoteKind:
    """What a note is about. Each of them keeps an audit from passing."""

    ADAPTER = "adapter"
    """The adapter raised or contradicted itself."""
    INTERRUPTED = "interrupted"
    TRUNCATED = "truncated"
    """The file's last line is cut off."""
    IDENTIFIER = "identifier"
    """One identifier was issued to two owners, or cannot serve as a canary."""
    SUBSCRIPTION = "subscription"
    """An owner's own connection was refused."""


class Noted(NamedTuple):
    """Something that a reader of the verdict must know."""

    time: int
    kind: str
    text: str


class Ended(NamedTuple):
    """The last line of a whole history."""

    time: int


Record = (
    Header
    | ScopeDeclared
    | PrincipalDeclared
    | IdentifierIssued
    | Invoked
    | Completed
    | Subscribed
    | Unsubscribed
    | Observed
    | Noted
    | Ended
)
