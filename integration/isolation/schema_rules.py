"""What every database must hold to, so that no forgotten filter shows anybody else's rows.

Each rule gives the objects that break it. What may break one stands in `schema_allowances.json`,
with the reason; an allowance that nothing needs any more is an error, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from integration.isolation.schema_catalogue import Catalogue, Policy, Relation

SCOPE: Final = "tenant_id"
_COMMANDS: Final = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}
_READS: Final = frozenset({"r", "w", "d", "*"})
_WRITES: Final = frozenset({"a", "w", "*"})
_TABLES: Final = frozenset({"r", "p"})


@dataclass(frozen=True, order=True)
class Violation:
    """An object that breaks a rule: `<database>.<schema>.<object>…`, or `role <name>`."""

    rule: str
    subject: str


@dataclass(frozen=True)
class Allowance:
    """A violation that is meant, and why."""

    violation: Violation
    reason: str


Rule = Callable[[Catalogue], Iterator[str]]


def _tables(catalogue: Catalogue) -> Iterator[tuple[str, Relation]]:
    for relation in catalogue.relations:
        if relation.kind in _TABLES:
            yield f"{catalogue.database}.{relation.schema}.{relation.name}", relation


def _not_enabled(catalogue: Catalogue) -> Iterator[str]:
    return (name for name, table in _tables(catalogue) if not table.enabled)


def _not_forced(catalogue: Catalogue) -> Iterator[str]:
    return (name for name, table in _tables(catalogue) if not table.forced)


def _commands_without_policy(catalogue: Catalogue) -> Iterator[str]:
    for name, table in _tables(catalogue):
        for letter, command in _COMMANDS.items():
            if not any(policy.command in {letter, "*"} for policy in table.policies):
                yield f"{name}.{command}"


def _policies(catalogue: Catalogue) -> Iterator[tuple[str, Policy]]:
    for name, table in _tables(catalogue):
        for policy in table.policies:
            yield f"{name}.{policy.name}", policy


def _without_using(catalogue: Catalogue) -> Iterator[str]:
    return (n for n, p in _policies(catalogue) if p.command in _READS and p.using is None)


def _without_check(catalogue: Catalogue) -> Iterator[str]:
    return (n for n, p in _policies(catalogue) if p.command in _WRITES and p.check is None)


def _admits_everything(catalogue: Catalogue) -> Iterator[str]:
    return (n for n, p in _policies(catalogue) if "true" in {p.using, p.check})


def _no_index_leads_with_scope(catalogue: Catalogue) -> Iterator[str]:
    for name, table in _tables(catalogue):
        if not any(index.leads_with == SCOPE for index in table.indexes):
            yield name


def _unique_keys(catalogue: Catalogue) -> Iterator[str]:
    for name, table in _tables(catalogue):
        for index in table.indexes:
            if index.unique and index.leads_with != SCOPE:
                yield f"{name}.{index.name}"


def _foreign_keys(catalogue: Catalogue) -> Iterator[str]:
    for name, table in _tables(catalogue):
        for key in table.foreign_keys:
            if (key.leads_with, key.leads_to) != (SCOPE, SCOPE):
                yield f"{name}.{key.name}"


def _unprotectable(catalogue: Catalogue) -> Iterator[str]:
    for relation in catalogue.relations:
        if relation.kind in {"m", "f"}:
            yield f"{catalogue.database}.{relation.schema}.{relation.name}"


def _views(catalogue: Catalogue) -> Iterator[str]:
    invoker = {"security_invoker=true", "security_invoker=on", "security_invoker=1"}
    for relation in catalogue.relations:
        if relation.kind == "v" and not invoker & set(relation.options):
            yield f"{catalogue.database}.{relation.schema}.{relation.name}"


def _security_definers(catalogue: Catalogue) -> Iterator[str]:
    return (f"{catalogue.database}.{name}" for name in catalogue.security_definers)


def _sequences(catalogue: Catalogue) -> Iterator[str]:
    return (f"{catalogue.database}.{name} by {role}" for name, role in catalogue.sequences)


def _rights(catalogue: Catalogue) -> Iterator[str]:
    for role, relation, right in catalogue.rights:
        yield f"{catalogue.database}.{relation} {right} by {role}"


def _creators(catalogue: Catalogue) -> Iterator[str]:
    return (f"{catalogue.database} {place} by {role}" for role, place in catalogue.creators)


def _large_objects(catalogue: Catalogue) -> Iterator[str]:
    return (f"{catalogue.database}.{name} by {role}" for role, name in catalogue.large_objects)


def _owning_roles(catalogue: Catalogue) -> Iterator[str]:
    return (f"role {role.name}" for role in catalogue.roles if role.owns)


def _members_of_owners(catalogue: Catalogue) -> Iterator[str]:
    for role in catalogue.roles:
        for owner in role.owners:
            yield f"role {role.name} of {owner}"


def _bypassing_roles(catalogue: Catalogue) -> Iterator[str]:
    return (f"role {role.name}" for role in catalogue.roles if role.superuser or role.bypasses)


def _administering_roles(catalogue: Catalogue) -> Iterator[str]:
    return (f"role {role.name}" for role in catalogue.roles if role.administers)


RULES: Final[dict[str, Rule]] = {
    "row-security-not-enabled": _not_enabled,
    "row-security-not-forced": _not_forced,
    "command-without-policy": _commands_without_policy,
    "policy-without-using": _without_using,
    "policy-without-check": _without_check,
    "policy-admits-everything": _admits_everything,
    "no-index-leads-with-scope": _no_index_leads_with_scope,
    "unique-key-over-scopes": _unique_keys,
    "foreign-key-over-scopes": _foreign_keys,
    "relation-without-row-security": _unprotectable,
    "view-without-security-invoker": _views,
    "security-definer-function": _security_definers,
    "shared-visible-sequence": _sequences,
    "login-role-with-table-right": _rights,
    "login-role-may-create": _creators,
    "large-object-function": _large_objects,
    "login-role-owns": _owning_roles,
    "login-role-is-member-of-owner": _members_of_owners,
    "login-role-bypasses-row-security": _bypassing_roles,
    "login-role-administers": _administering_roles,
}


def violations(catalogues: Iterable[Catalogue]) -> list[Violation]:
    """Everything that breaks a rule, each once."""
    return sorted(
        {
            Violation(name, subject)
            for catalogue in catalogues
            for name, rule in RULES.items()
            for subject in rule(catalogue)
        }
    )


def load_allowances(path: Path) -> list[Allowance]:
    """The committed allowances.

    Raises:
        ValueError: one names an unknown rule, has no reason, or stands there twice.
    """
    allowances: list[Allowance] = []
    for entry in json.loads(path.read_text(encoding="utf-8")):
        if not entry["reason"].strip():
            raise ValueError(f"expected a reason for {entry}")
        for rule in entry["rules"]:
            if rule not in RULES:
                raise ValueError(f"expected one of {', '.join(RULES)}; got {rule}")
            allowances += [
                Allowance(Violation(rule, subject), entry["reason"])
                for subject in entry["subjects"]
            ]
    known = [allowance.violation for allowance in allowances]
    if repeated := {violation for violation in known if known.count(violation) > 1}:
        raise ValueError(f"expected each allowance once; repeated: {sorted(repeated)}")
    return allowances


def unexpected(found: Sequence[Violation], allowances: Sequence[Allowance]) -> list[Violation]:
    """The violations that nothing allows."""
    allowed = {allowance.violation for allowance in allowances}
    return [violation for violation in found if violation not in allowed]


def unused(found: Sequence[Violation], allowances: Sequence[Allowance]) -> list[Violation]:
    """The allowances that nothing needs."""
    return [a.violation for a in allowances if a.violation not in found]
