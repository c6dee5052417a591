from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import argon2
import pytest

from services.auth import passwords as module
from services.auth.passwords import Passwords
from services.runtime.errors import ResourceExhausted


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """The cheapest there are."""
    passwords = Passwords(memory_kib=8, iterations=1)
    yield passwords
    passwords.close()


async def test_a_password_is_its_own(passwords: Passwords) -> None:
    """A password verifies against its hash, another does not, and no two hashes are equal."""
    first, second = await passwords.hash("secret"), await passwords.hash("secret")

    assert first != second
    assert "$argon2id$" in first
    assert await passwords.verify(first, "secret")
    assert not await passwords.verify(first, "Secret")
    assert not await passwords.verify("no hash", "secret")


async def test_nobody_costs_as_much_as_somebody(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no user a hash of the same parameters is verified, and never matches."""
    verified: list[argon2.Parameters] = []
    original = argon2.PasswordHasher.verify

    def verify(hasher: argon2.PasswordHasher, password_hash: str, password: str) -> bool:
        verified.append(argon2.extract_parameters(password_hash))
        return original(hasher, password_hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    somebody = await passwords.hash("secret")
    await passwords.verify(somebody, "wrong")

    assert not await passwords.verify(None, "secret")
    assert not await passwords.verify(None, "nobody has this password")
    assert [verified[0]] * 3 == verified


async def test_a_crowd_is_refused(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit nobody waits; once some are done there is room again."""
    monkeypatch.setattr(module, "_MAXIMUM_WAITING", 3)
    release = threading.Event()
    monkeypatch.setattr(
        argon2.PasswordHasher, "hash", lambda *_: "done" if release.wait(10) else "never"
    )
    waiting = [asyncio.create_task(passwords.hash("x")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted):
        await passwords.hash("x")
    waiting.pop().cancel()  # a caller that has gone makes no room: its work goes on
    with pytest.raises(ResourceExhausted):
        await passwords.hash("x")
    release.set()
    await asyncio.gather(*waiting)

    assert "done" == await passwords.hash("x")
