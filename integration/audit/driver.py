"""Sends operations through an adapter, and writes down what was asked and what came."""

import asyncio
import hashlib

from integration.audit.adapter import Adapter, Call, Issued, Observation, Outcome
from integration.audit.canaries import CanaryMint
from integration.audit.errors import IdentifierError
from integration.audit.history import HistoryWriter
from integration.audit.identifiers import Identifier, IdentifierIndex
from integration.audit.population import AuditPlan
from integration.audit.promises import Promises
from integration.audit.records import Invoked, NoteKind
from integration.audit.scopes import Scope
from integration.audit.system import OperationKind
from integration.audit.workload import Step

_WRITING = (OperationKind.CREATE, OperationKind.WRITE)
_CANARIES_EACH = 2
_FAULTS_LIMIT = 20
"""Faults written down; an adapter that is broken is broken for every operation."""


class Driver:
    """The one place through which an audit touches its system and its history."""

    def __init__(self, adapter: Adapter, plan: AuditPlan, history: HistoryWriter) -> None:
        """Drive an adapter, and record into an open history."""
        self.adapter = adapter
        self.description = adapter.description
        self.history = history
        self.mint = CanaryMint(plan.seed)
        self.promises = Promises(self.mint)
        self._seed = plan.seed
        self._identifiers = IdentifierIndex()
        self._names: dict[Scope, list[str]] = {}
        self._faults = 0

    async def perform(self, step: Step) -> bool:
        """Send one operation, whatever comes of it; true when it shows all that is due."""
        call = self._call(step)
        invoked = self.history.time()
        self.history.invoked(
            Invoked(
                step.number,
                step.operation.name,
                step.principal.name,
                step.scope,
                call.trace,
                invoked,
                canaries=call.canaries,
                mentions=self._mentions(step),
                absent=step.absent,
                twin=step.twin,
                final=step.final,
            )
        )
        outcome = await self._ask(call)
        try:
            for issued in outcome.issued:
                self.issue(issued, step.number)
            self.history.completed(step.number, outcome)
        except (TypeError, ValueError, AttributeError) as error:
            self.fault(f"{step.operation.name} gave what cannot be recorded: {error!r}")
            self.history.completed(step.number, Outcome.unknown("unrecordable"))
            return False
        self.promises.acknowledged(call, invoked, outcome)
        return self.promises.kept(call, outcome)

    def issue(self, issued: Issued, operation: int | None = None) -> None:
        """Register an identifier under its owner."""
        value = str(issued.value)
        identifier = Identifier(value, issued.kind, issued.owner, operation)
        known = self._identifiers.get(value) is not None
        try:
            fits = self._identifiers.add(identifier)
        except IdentifierError as error:
            self.history.note(NoteKind.IDENTIFIER, str(error))
            return
        if not fits:
            text = f"{issued.kind} identifier {value!r} was issued to {issued.owner} too"
            self.history.note(NoteKind.IDENTIFIER, text)
        elif not known:
            self._names.setdefault(issued.owner, []).append(value)
            self.history.identifier(identifier)

    def observe(self, observation: Observation, subscription: int | None = None) -> None:
        """Record something that was seen outside any operation's answer."""
        try:
            self.history.observed(observation, subscription)
        except (TypeError, ValueError, AttributeError) as error:
            self.fault(f"an observation cannot be recorded: {error!r}")

    def fault(self, text: str) -> None:
        """Record that the adapter, not its system, went wrong."""
        self._faults += 1
        if self._faults <= _FAULTS_LIMIT:
            self.history.note(NoteKind.ADAPTER, text)

    async def _ask(self, call: Call) -> Outcome:
        limit = self.description.operation_limit_seconds
        timeout = asyncio.timeout(limit)
        try:
            async with timeout:
                outcome = await self.adapter.invoke(call)
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises is its fault
            if isinstance(error, TimeoutError) and timeout.expired():
                return Outcome.unknown(f"no answer within {limit:g} s")
            self.fault(f"{call.operation.name} raised {error!r}")
            return Outcome.unknown(type(error).__name__)
        if isinstance(outcome, Outcome):
            return outcome
        self.fault(f"{call.operation.name} gave {outcome!r} where an Outcome is due")
        return Outcome.unknown("no outcome")

    def _call(self, step: Step) -> Call:
        own = step.principal.authority.contains(step.scope) and not step.absent
        owner = self.history.scope(step.scope if own else step.principal.scope)
        slots = _CANARIES_EACH if step.operation.kind in _WRITING else 0
        trace = hashlib.blake2b(f"{self._seed} {step.number}".encode(), digest_size=16)
        return Call(
            step.number,
            step.operation,
            step.principal,
            step.scope,
            trace.hexdigest(),
            canaries=tuple(self.mint.plant(owner, step.number, slot) for slot in range(slots)),
            absent=step.absent,
            final=step.final,
        )

    def _mentions(self, step: Step) -> tuple[str, ...]:
        """Give the identifiers by which a probe names what is another's."""
        foreign = not step.absent and not step.principal.authority.contains(step.scope)
        if not foreign:
            return ()
        kind = step.scope.level.name.lower()
        return tuple(
            value
            for value in self._names.get(step.scope, ())
            if (known := self._identifiers.get(value)) is not None and known.kind == kind
        )
