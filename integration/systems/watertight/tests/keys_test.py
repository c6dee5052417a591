from hypothesis import given
from hypothesis import strategies as st

from contracts.context import DataScope, TenantId, ThreadId, UserId, scoped_key
from contracts.context.keys import encode_parts
from integration.systems.watertight.keys import decode_parts, scope_of_key

PARTS = st.lists(st.none() | st.text(max_size=12), min_size=1, max_size=6)


@given(PARTS)
def test_decoding_undoes_the_encoding_of_keys(parts: list[str | None]) -> None:
    """Whatever identifiers a key was made of are read back from it, hostile ones too."""
    decoded = decode_parts(encode_parts(*parts))

    assert tuple(parts) == decoded


def test_key_of_a_thread_tells_its_owner() -> None:
    """The observer attributes a key to the tenant, user and thread that it was made of."""
    scope = DataScope.thread(TenantId("t,1"), UserId("u:2"), ThreadId("th%3"))

    found = scope_of_key(f"wt:backend:{scoped_key('transcript', scope, '15')}")

    assert {"tenant": "t,1", "user": "u:2", "thread": "th%3"} == found


def test_key_of_another_make_tells_nobody() -> None:
    """A key that our encoding did not make belongs to nobody, so it may hold nothing."""
    assert {} == scope_of_key("wt:backend:cache:user-1")
    assert {} == scope_of_key("session:3:abc,-")
