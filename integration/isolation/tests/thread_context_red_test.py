"""That each of the four tests of threads goes red for what it is there to notice."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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


@contextmanager
def open_port(_environment: Environment) -> Iterator[None]:
    """A port on every address of the machine."""
    with socket.create_server(("0.0.0.0", 0)):
        yield


@contextmanager
def role_past_policies(environment: Environment) -> Iterator[None]:
    """The backend's login role is subject to no policy."""
    role = environment.names.role("backend_service")
    environment.postgres.admin.execute(f"ALTER ROLE {role} BYPASSRLS")
    yield
    environment.postgres.admin.execute(f"ALTER ROLE {role} NOBYPASSRLS")


@contextmanager
def older_schema(environment: Environment) -> Iterator[None]:
    """The last migration of analytics has not been run."""
    execute = environment.postgres.admin.execute
    execute("UPDATE alembic_version SET version_num = '-' || version_num", database="analytics")
    yield
    execute(
        "UPDATE alembic_version SET version_num = ltrim(version_num, '-')", database="analytics"
    )


@pytest.mark.parametrize(
    ("spoil", "statement"),
    [
        (open_port, "is_isolated(environment)"),
        (role_past_policies, "privileged_roles"),
        (older_schema, "newest_revision"),
    ],
)
async def test_a_system_that_is_not_as_it_should_be_turns_it_red(
    real_services_fixture: RealServices,
    environment: Environment,
    spoil: Callable[[Environment], AbstractContextManager[None]],
    statement: str,
) -> None:
    """The check of the start fails for just that."""
    with spoil(environment), pytest.raises(AssertionError) as failure:
        await thread_context_test.test_the_system_that_started_is_the_real_one(
            real_services_fixture, environment
        )

    assert statement in str(failure.traceback[-1].statement)
