"""A seed gives one schedule; a schedule covers what it should."""

from itertools import islice, pairwise

import pytest

from integration.audit import AuditPlan, PlanError
from integration.audit.population import populate
from integration.audit.system import OperationKind
from integration.audit.tests.boards import DESCRIPTION
from integration.audit.workload import Step, Workload


def workload(plan: AuditPlan) -> Workload:
    """Give the workload of a plan on the board."""
    return Workload(DESCRIPTION, populate(plan, DESCRIPTION.operations), plan)


def whole(plan: AuditPlan) -> list[Step]:
    """Give every step, of all phases."""
    made = workload(plan)
    return [*made.creations(), *made.main(), *made.revocations(), *made.afterwards()]


def test_one_seed_gives_one_schedule() -> None:
    """Two runs of a seed ask the same, another seed asks otherwise."""
    assert whole(AuditPlan(seed=1)) == whole(AuditPlan(seed=1))
    assert whole(AuditPlan(seed=1)) != whole(AuditPlan(seed=2))


@pytest.mark.parametrize("operations", [1, 2, 17, 400])
def test_the_workload_has_as_many_operations_as_planned(operations: int) -> None:
    """Neither bursts nor twins exceed the number."""
    assert operations == len(list(workload(AuditPlan(operations=operations)).main()))


def test_a_small_workload_covers_every_operation_and_thread() -> None:
    """Sixty operations ask every kind of everybody, and probe."""
    plan = AuditPlan(operations=60)
    steps = list(workload(plan).main())

    kinds = (OperationKind.CREATE, OperationKind.REVOKE)
    expected = {each.name for each in DESCRIPTION.operations if each.kind not in kinds}
    assert expected == {step.operation.name for step in steps}
    own = [step for step in steps if step.principal.authority.contains(step.scope)]
    assert 8 == len({step.scope for step in own if step.scope.thread})
    assert any(step.absent for step in steps)


def test_twins_ask_the_same_of_what_exists_and_what_does_not() -> None:
    """Each absent probe follows its twin, by the same principal, on another's object."""
    steps = {step.number: step for step in workload(AuditPlan(operations=300)).main()}

    twins = [step for step in steps.values() if step.twin is not None]
    assert twins
    for absent in twins:
        existing = steps[absent.twin or 0]
        assert existing._replace(number=0) == absent._replace(number=0, twin=None, absent=False)
        assert not existing.principal.authority.contains(existing.scope)


def test_namesakes_of_other_tenants_are_probed() -> None:
    """The same log-in name in two tenants meets itself."""
    steps = workload(AuditPlan(operations=300)).main()

    assert any(
        step.scope.user == step.principal.scope.user
        and step.scope.tenant != step.principal.scope.tenant
        for step in steps
        if step.scope.thread
    )


def test_operations_come_in_bursts_on_one_thread() -> None:
    """Writes to one thread follow each other at once, so that they overlap."""
    steps = list(workload(AuditPlan(operations=200)).main())

    posts = [step for step in steps if step.operation.name == "post"]
    assert any(a.scope == b.scope and a.number + 1 == b.number for a, b in pairwise(posts))


def test_a_thread_has_several_clients_of_two_sessions() -> None:
    """Both sessions of a user listen to each thread."""
    made = list(workload(AuditPlan()).connections())

    assert 16 == len(made)
    assert {"main", "second"} == {principal.session for _, principal, _ in made[:2]}


def test_strangers_listen_to_what_is_not_theirs() -> None:
    """Every stranger's connection addresses another's thread."""
    made = list(workload(AuditPlan()).strangers())

    assert made
    assert not any(principal.authority.contains(scope) for _, principal, scope in made)


def test_one_user_alone_has_nobody_to_probe() -> None:
    """Without others there are neither probes nor strangers."""
    made = workload(AuditPlan(tenants=1, users=1, threads=1, operations=50))

    assert [] == list(made.strangers())
    assert not any(step.absent for step in made.main())


def test_large_populations_are_scheduled_lazily() -> None:
    """A hundred thousand threads and millions of operations do not have to be listed first."""
    made = workload(AuditPlan(tenants=10, users=100, threads=100, operations=100_000_000))

    assert 10 == len(list(islice(made.main(), 10)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("tenants", 0), ("users", -1), ("threads", 1001), ("operations", 0), ("seed", -1)],
)
def test_impossible_plans_are_refused(field: str, value: int) -> None:
    """The error names the field and the value."""
    with pytest.raises(PlanError, match=rf"{field} must be from .*, but is {value}"):
        AuditPlan(**{field: value})
