"""What a fresh seed gives: a system of some size, its audit, and programs on its datastores."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Final, Self

from contracts.context import DataScope, TenantId, ThreadId, UserId
from integration.audit import AuditPlan
from services.runtime.redis import ScopedRedis

SEED_VARIABLE: Final = "WATERTIGHT_EXPLORE_SEED"
"""Repeats an exploration: a whole number from 0."""

DIRECTORY_VARIABLE: Final = "WATERTIGHT_EXPLORE_DIRECTORY"
"""Where an exploration keeps what it needs to be repeated, instead of the test's outputs."""

_SEEDS: Final = 2**31
_PARTS: Final = ("a", "b", "a:b", "a,b", "*", "-", "1:a", "%2C", "é☃", "x" * 64)
_NAMES: Final = (("",), ("1",), ("1", "2"), ("12",), ("*",))
_LIFETIME_SECONDS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """Everything that is not the same each time; all of it follows from the seed."""

    seed: int
    plan: AuditPlan
    replicas: int
    pool_sizes: Mapping[str, int]
    transactions: int
    commands: int

    @classmethod
    def drawn(cls, seed: int) -> Self:
        """What that seed gives: small enough for 20 s, and large enough for a verdict."""
        chance = Random(f"explore {seed}")  # noqa: S311 -- reproducible, no secret
        plan = AuditPlan(
            tenants=chance.randint(2, 3),
            users=2,
            threads=chance.randint(2, 3),
            operations=chance.randrange(200, 320),
            seed=seed,
            workers=chance.randint(4, 8),
        )
        return cls(
            seed=seed,
            plan=plan,
            replicas=chance.randint(2, 3),
            pool_sizes={name: chance.randint(2, 4) for name in ("auth", "analytics", "backend")},
            transactions=chance.randrange(16, 80),
            commands=chance.randrange(200, 600),
        )

    @classmethod
    def fresh(cls) -> Self:
        """What the environment asks to repeat, or something new.

        Raises:
            ValueError: the variable holds no whole number from 0.
        """
        given = os.environ.get(SEED_VARIABLE)
        seed = secrets.randbelow(_SEEDS) if given is None else int(given)
        if seed < 0:
            raise ValueError(f"{SEED_VARIABLE}: expected a whole number from 0, got {seed}")
        return cls.drawn(seed)

    @property
    def command(self) -> str:
        """What does the same again."""
        return (
            "tools/bazel test //integration/isolation:explore"
            f" --test_env={SEED_VARIABLE}={self.seed} --test_output=all"
        )

    @property
    def settings(self) -> dict[str, dict[str, str]]:
        """The services' settings."""
        return {name: {"POSTGRES_POOL_SIZE": str(size)} for name, size in self.pool_sizes.items()}

    def keep(self, directory: Path) -> None:
        """Writes down what is needed to repeat it, before anything is started."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "command.txt").write_text(f"{self.command}\n")
        (directory / "exploration.json").write_text(f"{json.dumps(asdict(self), indent=2)}\n")


async def run_cache_program(scoped: ScopedRedis, chance: Random, commands: int) -> list[str]:
    """Random commands on keys of scopes that look alike, and each answer that is not the key's own.

    What was stored under a key is known here; nothing else may ever come back.
    """
    held: dict[tuple[DataScope, tuple[str, ...]], bytes] = {}
    wrong: list[str] = []
    for number in range(commands):
        scope, names = _scope(chance), chance.choice(_NAMES)
        key = (scope, names)
        match chance.choice(("set", "set", "get", "get", "take", "delete")):
            case "set":
                held[key] = f"{number}".encode()
                await scoped.set(
                    "explore", scope, *names, value=held[key], lifetime_seconds=_LIFETIME_SECONDS
                )
                continue
            case "get":
                expected, gave = held.get(key), await scoped.get("explore", scope, *names)
            case "take":
                expected, gave = held.pop(key, None), await scoped.take("explore", scope, *names)
            case _:
                held.pop(key, None)
                await scoped.delete("explore", scope, *names)
                expected, gave = None, await scoped.get("explore", scope, *names)
        if expected != gave:
            wrong.append(f"command {number}: {key} holds {expected!r}, and gave {gave!r}")
    return wrong


def _scope(chance: Random) -> DataScope:
    tenant_id, user_id = TenantId(chance.choice(_PARTS)), UserId(chance.choice(_PARTS))
    match chance.choice(("thread", "thread", "user", "tenant", "system", "login")):
        case "thread":
            return DataScope.thread(tenant_id, user_id, ThreadId(chance.choice(_PARTS)))
        case "user":
            return DataScope.user(tenant_id, user_id)
        case "tenant":
            return DataScope.tenant(tenant_id)
        case "system":
            return DataScope.system(tenant_id)
        case _:
            return DataScope.login(chance.choice(_PARTS), tenant_id)
