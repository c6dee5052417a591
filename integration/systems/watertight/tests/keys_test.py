from contracts.context import DataScope, TenantId, ThreadId, UserId, scoped_key
from integration.environment import Names
from integration.systems.watertight.keys import scope_of_key


def test_key_of_a_thread_tells_its_owner() -> None:
    """The observer attributes a key to the tenant, user and thread that it was made of."""
    scope = DataScope.thread(TenantId("t,1"), UserId("u:2"), ThreadId("th%3"))

    found = scope_of_key(f"wt:backend:{scoped_key('transcript', scope, '15')}")

    assert {"tenant": "t,1", "user": "u:2", "thread": "th%3"} == found


def test_key_of_another_make_tells_nobody() -> None:
    """A key that our encoding did not make belongs to nobody, so it may hold nothing."""
    assert {} == scope_of_key("wt:backend:cache:user-1")
    assert {} == scope_of_key("session:3:abc,-")


def test_keys_of_another_system_are_nobodys() -> None:
    """On a shared server a key is read by its own system's name alone."""
    scope = DataScope.thread(TenantId("t"), UserId("u"), ThreadId("h"))
    key = f"wt-0a1b2c3d:backend:{scoped_key('transcript', scope)}"

    assert {} == scope_of_key(key)
    assert {} == scope_of_key(key, Names("ffffffff"))
    assert {"tenant": "t", "user": "u", "thread": "h"} == scope_of_key(key, Names("0a1b2c3d"))
