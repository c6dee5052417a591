"""Redis: whose every key, channel and entry is, and whom a cached value is served to."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import pytest
import redis

from contracts.context import DataScope, RunId, TenantId, ThreadId, UserId
from contracts.context.carriers.confirmation import read_confirmation
from contracts.context.carriers.entry import read_entry
from integration.clients.answers import ClientError
from integration.clients.backend import BackendClient
from integration.environment import Environment
from integration.fixtures.principals import Person, Principals
from integration.isolation.key_space import STREAMS, Key, read_key, values_at_rest, watching
from services.runtime.redis import ScopedRedis
from tools.processes.waiting import until

pytest_plugins = ["integration.fixtures.plugin"]
pytestmark = [pytest.mark.integration, pytest.mark.real_services]

# Names that an encoding could take for its own delimiters, for globs or for another's name.
HOSTILE: Final = (
    "a:b",
    "a,b",
    "*",
    "[a-z]?",
    "wt:backend:*",
    "transcript,thread",
    "1:a,1:b",
    "-",
    "%2C",
    "Ünïcödé-☃",
    "é" * 32,
    "x" * 64,
)
IDENTIFIERS: Final = (*HOSTILE, "a", "b", "a:b:c", "b:c", "a,1:b", "A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """One thread, and the word that is only in it."""

    person: Person
    thread_id: ThreadId
    run_id: RunId
    """Of its first message."""
    word: str

    @property
    def scope(self) -> DataScope:
        """The scope of the thread."""
        return DataScope.thread(self.person.tenant_id, self.person.user_id, self.thread_id)

    @property
    def names(self) -> frozenset[str]:
        """What may stand in nothing that is another thread's."""
        return frozenset({self.thread_id, self.word})


async def _writer(environment: Environment, person: Person, title: str) -> Writer:
    word = f"word{secrets.token_hex(8)}"
    async with BackendClient(environment.backend_url, token=person.token) as backend:
        thread_id = (await backend.create_thread(title)).thread_id
        run_id = (await backend.send_message(thread_id, word)).message.run_id
    return Writer(person=person, thread_id=thread_id, run_id=run_id, word=word)


async def _settled(environment: Environment, principals: Principals) -> tuple[Writer, ...]:
    """Two threads of each of two users of two tenants; names collide, heads are equal."""
    writers = []
    for tenant in (f"a:b,*{secrets.token_hex(4)}", f"a,b:*{secrets.token_hex(4)}"):
        for login in ("a:b", "a,b[*]"):
            person = await principals.user(tenant=tenant, login_name=login)
            writers += [await _writer(environment, person, title) for title in ("*", "%2C☃")]
    return tuple(writers)


@pytest.fixture(scope="session")
def writers(environment: Environment, principals: Principals) -> tuple[Writer, ...]:
    """Eight threads with colliding names and equal heads."""
    return asyncio.run(_settled(environment, principals))


@pytest.fixture
async def scoped(environment: Environment) -> AsyncIterator[ScopedRedis]:
    """The backend's own keys under its own user, as the service has them."""
    system = environment.names.redis_namespace
    opened = ScopedRedis(environment.valkey.url("backend"), "backend", system=system)
    yield opened
    await opened.close()


async def _read(environment: Environment, writer: Writer, replica: int = 0) -> list[str]:
    """Her transcript as a replica of the backend tells it."""
    url = environment.backend_urls[replica]
    async with BackendClient(url, token=writer.person.token) as backend:
        answer = await backend.messages(writer.thread_id)
    return [message.content for message in answer.messages if message.role == "user"]


async def _session(environment: Environment, writer: Writer, replica: int = 0) -> str:
    url = environment.backend_urls[replica]
    async with BackendClient(url, token=writer.person.token) as backend:
        return str((await backend.open_session(writer.thread_id)).run_id)


def _keys(environment: Environment, namespace: str) -> dict[Key, tuple[str, bytes]]:
    """What rests of one kind: each key read back, with its name and value."""
    system = environment.names.redis_namespace
    read = {
        read_key(raw, system): (raw, value)
        for raw, value in values_at_rest(environment, "backend").items()
    }
    return {key: found for key, found in read.items() if key.namespace == namespace}


async def test_every_key_and_channel_has_exactly_one_owner(
    environment: Environment, writers: tuple[Writer, ...]
) -> None:
    """Whatever a command names while people with hostile names work is one existing owner's."""
    with watching(environment) as watch:
        for writer in writers:
            async with BackendClient(environment.backend_url, token=writer.person.token) as backend:
                await backend.send_message(writer.thread_id, f"wt:backend:* {writer.word}")
                await backend.messages(writer.thread_id)
                await backend.open_session(writer.thread_id)
                await backend.websocket_ticket()
                for hostile in HOSTILE:
                    with pytest.raises(ClientError):
                        await backend.messages(ThreadId(hostile))
        await until(lambda: any(":stored" in name for name in watch.named))

    assert [] == watch.unread
    threads = {writer.scope for writer in writers}
    users = {DataScope.user(w.person.tenant_id, w.person.user_id) for w in writers}
    named: dict[str, set[DataScope]] = {}
    for key in watch.keys:
        assert "backend" == key.service
        named.setdefault(key.namespace, set()).add(key.scope)
    tickets = named.pop("websocket-ticket")
    assert {"transcript", "thread-context", "thread"} <= set(named)
    for scopes in named.values():
        assert scopes - threads <= users
    assert threads == named["transcript"] == named["thread-context"] == named["thread"]
    assert {64} == {len(str(ticket.lookup)) for ticket in tickets}


async def test_every_value_names_its_keys_owner_alone(
    environment: Environment, writers: tuple[Writer, ...]
) -> None:
    """What rests under a thread's key holds no word and no identifier of another thread."""
    for writer in writers:
        await _read(environment, writer)
        await _session(environment, writer)
    found = {**_keys(environment, "transcript"), **_keys(environment, "thread-context")}

    assert {writer.scope for writer in writers} <= {key.scope for key in found}
    for key, (raw, value) in found.items():
        text = raw + value.decode()
        foreign = [
            w.word for w in writers if w.scope != key.scope and any(n in text for n in w.names)
        ]
        assert [] == foreign


async def test_every_stream_entry_is_of_one_owner(
    environment: Environment, writers: tuple[Writer, ...]
) -> None:
    """Each entry says one existing owner and run, and its bytes hold nobody else's identifiers."""
    admin: Any = environment.valkey.admin
    usage, dead, stored = (f"{environment.names.redis_namespace}:{each}" for each in STREAMS)
    writer = await _writer(environment, writers[0].person, "a:b")
    everybody = (*writers, writer)

    def confirmed() -> bool:
        entries = [fields for _, fields in admin.xrange(stored)]
        return any(writer.person.user_id.encode() in fields[b"user_id"] for fields in entries)

    await until(confirmed)
    owners = {each.scope: each for each in everybody}
    seen = set()
    for _, fields in admin.xrange(usage):
        context, _ = read_entry(fields)
        own = owners.get(context.data_scope)
        if own is None:
            continue  # of another test's people
        seen.add(own.scope)
        held = b"".join(fields.values())
        for other in (each for each in everybody if each != own):
            named = {other.thread_id.encode(), other.run_id.encode()}
            assert [] == [name for name in named if name in held]
        assert [] == [w.word for w in everybody if w.word.encode() in held]
    assert writer.scope in seen
    users = {(w.person.tenant_id, w.person.user_id) for w in everybody}
    for _, fields in admin.xrange(stored):
        confirmation = read_confirmation(fields)
        if confirmation.tenant_id in {tenant for tenant, _ in users}:
            assert (confirmation.tenant_id, confirmation.user_id) in users
    assert [] == admin.xrange(dead)


async def test_hostile_identifiers_never_meet(
    environment: Environment, scoped: ScopedRedis
) -> None:
    """Identifiers that look like one another's encoding have keys of their own."""
    scopes = [
        DataScope.thread(TenantId(tenant), UserId(user), ThreadId(thread))
        for tenant, user, thread in product(IDENTIFIERS[-8:], repeat=3)
    ]
    scopes += [DataScope.user(TenantId(t), UserId(u)) for t, u in product(IDENTIFIERS, repeat=2)]
    scopes += [DataScope.tenant(TenantId(tenant)) for tenant in IDENTIFIERS]
    for number, scope in enumerate(scopes):
        await scoped.set("hostile", scope, value=str(number).encode(), lifetime_seconds=60)
    gave = [await scoped.get("hostile", scope) for scope in scopes]

    assert [str(number).encode() for number in range(len(scopes))] == gave
    system = environment.names.redis_namespace
    read = [read_key(scoped.name("hostile", scope, *HOSTILE), system) for scope in scopes]
    assert [Key("backend", "hostile", scope, HOSTILE) for scope in scopes] == read


async def _assert_everybody_has_her_own(
    environment: Environment, writers: tuple[Writer, ...]
) -> None:
    for replica in range(len(environment.backend_urls)):
        for writer in writers:
            contents = await _read(environment, writer, replica)
            assert contents
            assert [] == [content for content in contents if writer.word not in content]


async def test_warm_caches_serve_each_thread_its_own(
    environment: Environment, writers: tuple[Writer, ...]
) -> None:
    """With equal heads in all threads of all users, cached transcripts and runs never mix."""
    await _assert_everybody_has_her_own(environment, writers)
    heads = {key.names for key in _keys(environment, "transcript") if key.names}
    runs = {writer.scope: await _session(environment, writer) for writer in writers}

    await _assert_everybody_has_her_own(environment, writers)
    for writer in writers:
        assert runs[writer.scope] == await _session(environment, writer, replica=-1)
    assert len(writers) == len(set(runs.values()))
    cached = [key for key in _keys(environment, "transcript") if key.scope in runs]
    assert len(cached) >= len(writers) >= len(heads)


@pytest.mark.parametrize("end", ["flushed", "expired"])
async def test_caches_that_come_back_empty_are_filled_with_ones_own(
    environment: Environment, writers: tuple[Writer, ...], end: str
) -> None:
    """After a flush or expiry everybody is served her own, and is in the run that she was in."""
    runs = {writer.scope: await _session(environment, writer) for writer in writers}
    await _assert_everybody_has_her_own(environment, writers)
    admin: Any = environment.valkey.admin
    for raw in values_at_rest(environment, "backend"):
        _ = admin.delete(raw) if end == "flushed" else admin.pexpire(raw, 1)
    await until(lambda: not values_at_rest(environment, "backend"))

    for _ in range(2):
        await _assert_everybody_has_her_own(environment, writers)
        assert runs == {w.scope: await _session(environment, w, replica=-1) for w in writers}


async def test_failed_commit_leaves_nothing_in_a_cache(
    environment: Environment, principals: Principals
) -> None:
    """What fails at the commit is served to nobody, also when its numbers are given again."""
    writers = [
        await _writer(environment, await principals.user(), title) for title in ("first", "second")
    ]
    runs = [await _session(environment, writer) for writer in writers]
    admin = environment.postgres.admin
    word = f"fail{secrets.token_hex(8)}"
    admin.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin"
        f" if new.content like '%{word}%' then raise exception 'refused'; end if;"
        " return null; end $$",
        "create constraint trigger refuse after insert on messages deferrable initially deferred"
        " for each row execute function refuse()",
        database="backend",
    )
    try:
        for writer in writers:
            async with BackendClient(environment.backend_url, token=writer.person.token) as backend:
                with pytest.raises(ClientError):
                    await backend.send_message(writer.thread_id, f"{word} {writer.word}")
                at_rest = b"".join(values_at_rest(environment, "backend").values())
                assert word.encode() not in at_rest
                assert 2 == len((await backend.messages(writer.thread_id)).messages)
                await backend.send_message(writer.thread_id, f"after {writer.word}")
    finally:
        admin.execute(
            "drop trigger refuse on messages", "drop function refuse()", database="backend"
        )

    for writer, run in zip(writers, runs, strict=True):
        for replica in range(len(environment.backend_urls)):
            expected = [writer.word, f"after {writer.word}"]
            assert expected == await _read(environment, writer, replica)
        assert run != await _session(environment, writer)


async def test_planted_value_is_served_to_its_keys_owner_alone(
    environment: Environment, writers: tuple[Writer, ...]
) -> None:
    """A transcript or run planted under one thread's key reaches nobody who has another thread.

    The owner is served it, so the cache was read; whoever writes into Redis is believed there.
    """
    admin: Any = environment.valkey.admin
    victim, *others = writers
    await _assert_everybody_has_her_own(environment, writers)
    await _session(environment, victim)
    planted = f"planted{secrets.token_hex(8)}"
    for key, (raw, value) in _keys(environment, "transcript").items():
        if key.scope == victim.scope:
            messages = json.loads(value)
            for message in messages:
                message["content"] = planted
            admin.set(raw, json.dumps(messages), ex=60)
    [(session, value)] = [
        found
        for key, found in _keys(environment, "thread-context").items()
        if key.scope == victim.scope
    ]
    admin.set(session, value.partition(b":")[0] + b":" + planted.encode(), ex=60)
    try:
        for replica in range(len(environment.backend_urls)):
            assert {planted} == set(await _read(environment, victim, replica))
            assert planted == await _session(environment, victim, replica)
            for other in others:
                assert planted not in str(await _read(environment, other, replica))
                assert planted != await _session(environment, other, replica)
    finally:
        for raw in values_at_rest(environment, "backend"):
            admin.delete(raw)


REFUSED_COMMANDS: Final = {
    "backend": (
        "keys *",
        "scan 0",
        "randomkey",
        "dbsize",
        "pubsub channels",
        "pubsub numsub x",
        "client tracking on bcast",
        "client list",
        "monitor",
        "info",
        "config get *",
        "acl list",
        "acl whoami",
        "flushall",
        "flushdb",
        "swapdb 0 1",
        "select 1",
        "object encoding {own}",
        "dump {own}",
        "rename {own} x",
        "copy {own} x",
        "psubscribe *",
        "ssubscribe {own}",
        "subscribe other",
        "publish other x",
        "get other",
        "get {system}:analytics:x",
        "set {system}:auth:x 1",
        "get {system}:stream:usage",
        "xrange {system}:stream:usage - +",
        "xread count 1 streams {system}:stream:usage 0",
        "xadd {system}:stream:usage:stored * a b",
        "xadd {system}:stream:usage:dead * a b",
        "script flush",
        "function list",
    ),
    "analytics": (
        "keys *",
        "scan 0",
        "randomkey",
        "pubsub channels",
        "client tracking on bcast",
        "get {own}",
        "set {own} x",
        "del {own}",
        "getdel {own}",
        "exists {own}",
        "type {own}",
        "subscribe {own}",
        "publish {own} 1",
        "psubscribe *",
        "monitor",
        "eval return(1) 0",
        "xadd {system}:stream:usage * a b",
        "xread count 1 streams {system}:stream:usage:stored 0",
        "flushall",
    ),
}


@pytest.mark.parametrize(
    ("user", "command"),
    [(user, command) for user, commands in REFUSED_COMMANDS.items() for command in commands],
)
async def test_user_of_the_server_reaches_its_own_alone(
    environment: Environment, writers: tuple[Writer, ...], user: str, command: str
) -> None:
    """A service's user neither lists nor reaches what is another's; the cached key is untouched."""
    await _read(environment, writers[0])
    own, value = next(iter(_keys(environment, "transcript").values()))
    words = command.format(own=own, system=environment.names.redis_namespace).split()
    with (
        redis.Redis.from_url(environment.valkey.url(user), socket_timeout=5.0) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*words)

    assert value == values_at_rest(environment, "backend").get(own, value)


async def test_script_reaches_no_further_than_its_user(
    environment: Environment, scoped: ScopedRedis
) -> None:
    """What `eval` names inside of a script is judged by the same rules."""
    system = environment.names.redis_namespace
    own = scoped.name("script", DataScope.tenant(TenantId("a")))
    with redis.Redis.from_url(environment.valkey.url("backend"), socket_timeout=5.0) as client:
        assert 1 == client.eval("return redis.call('set', KEYS[1], 1) and 1", 1, own)
        for inside in (f"'get', '{system}:analytics:x'", "'keys', '*'", "'randomkey'"):
            with pytest.raises(redis.exceptions.ResponseError, match=r"(?i)permission|not allowed"):
                client.eval(f"return redis.call({inside})", 1, own)
