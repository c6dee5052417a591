"""What a good refusal is, and what an unharmed system."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import httpx

from integration.environment import Environment
from integration.security.inputs import MARKER
from integration.security.sending import http_client

# Words of a programmer's that no answer should hold.
_INSIDES: Final = ("Traceback", 'File "', ".py", "sqlalchemy", "asyncpg", "pydantic", "redis.")
_SERVER_FAILED: Final = 500


def quoted_or_inside(text: str) -> Iterator[str]:
    """What an answer says that it must not: what was sent, or what the service is made of."""
    if MARKER in text.lower():
        yield "quotes what was sent"
    for word in _INSIDES:
        if word in text:
            yield f"tells {word!r}"


def http_faults(response: httpx.Response) -> list[str]:
    """What is wrong with an answer to bad input: nothing, where it is a clear refusal."""
    faults: list[str] = []
    if response.is_error:
        # A success may say again what it was given; a refusal may not.
        faults += quoted_or_inside(f"{response.text}\n{response.headers}")
    if response.status_code >= _SERVER_FAILED:
        faults.append(f"status {response.status_code}")
    if response.is_error and not _is_typed(response):
        faults.append(f"no typed error: {response.text!r:.120}")
    return faults


def _is_typed(response: httpx.Response) -> bool:
    try:
        error = response.json()["error"]
        return bool(error["code"].isupper() and error["message"] and error["request_id"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


async def harm(environment: Environment) -> list[str]:
    """What no longer works: processes that died, services that are not healthy."""
    environment.supervisor.check()
    urls = (environment.auth_url, environment.analytics_url, *environment.backend_urls)
    async with http_client(5.0) as client:
        answers = await asyncio.gather(*(client.get(f"{url}/health") for url in urls))
    return [f"{each.url}: {each.status_code}" for each in answers if not each.is_success]


def lines_that_quote(logs: Iterable[Path], positions: dict[Path, int]) -> list[str]:
    """The log lines since the last look that hold what was sent."""
    found = []
    for log in logs:
        with log.open("rb") as file:
            file.seek(positions.get(log, 0))
            found += [
                f"{log.name}: {line[:300]!r}" for line in file if MARKER.encode() in line.lower()
            ]
            positions[log] = file.tell()
    return found
