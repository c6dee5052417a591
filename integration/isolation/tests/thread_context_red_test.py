"""That each of the four tests of threads goes red for what it is there to notice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.environment import Environment
from integration.fixtures import Principals, RealServices, UserContexts
from integration.fixtures.seeding import run_suite
from integration.isolation import thread_context_test

pytest_plugins = ["integration.fixtures.plugin"]

SUITE = Path(__file__).parents[1] / "thread_context_test.py"

ROWS = "test_rows_of_one_thread_are_nothing_to_another"
EVENTS = "test_events_go_to_the_thread_that_they_are_of"
COST = "test_ten_contexts_at_once_cost_no_more_than_in_turn"
START = "test_the_system_that_started_is_the_real_one"

WITHOUT_THREAD = (
    "tenant_id = current_setting('app.tenant_id', true)"
    " AND user_id = current_setting('app.user_id', true)"
)


@pytest.mark.parametrize(
    ("defect", "test"),
    [
        ("cache-key", ROWS),
        ("websocket-routing", EVENTS),
        ("global-lock", COST),
        ("debug-listener", START),
    ],
)
def test_a_defect_of_the_backend_turns_it_red(defect: str, test: str, tmp_path: Path) -> None:
    """The test fails, and its fixtures do not."""
    result = run_suite(SUITE, tmp_path, defect=defect, only=test)

    assert {test} == result.failed, result.output
    assert not result.broken, result.output


@pytest.fixture
def policy_without_thread(environment: Environment) -> Iterator[None]:
    """Messages are shown to their whole user, as if the thread had been forgotten in the policy."""
    (policy,) = environment.postgres.admin.fetch(
        "SELECT policyname AS name, qual FROM pg_policies"
        " WHERE tablename = 'messages' AND cmd = 'SELECT'",
        database="backend",
    )

    def show(condition: object) -> None:
        environment.postgres.admin.execute(
            f'ALTER POLICY "{policy["name"]}" ON messages USING ({condition})', database="backend"
        )

    show(WITHOUT_THREAD)
    yield
    show(policy["qual"])


@pytest.mark.usefixtures("policy_without_thread")
async def test_a_policy_without_the_thread_turns_it_red(
    real_services_fixture: RealServices,
    principals: Principals,
    get_user_execution_context: UserContexts,
) -> None:
    """The other thread sees the row, before the backend has said anything."""
    with pytest.raises(AssertionError) as failure:
        await thread_context_test.test_rows_of_one_thread_are_nothing_to_another(
            real_services_fixture, principals, get_user_execution_context
        )

    assert "assert [] == await seen(second.db)" in str(failure.traceback[-1].statement)
