"""The observer of logs: every line that a process wrote, a service's or a datastore's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from integration.audit import Allowance, Channel, Observation, ObservationClass, Scope

_FIELDS: Final = {
    "trace_id": "trace",
    "tenant_id": "tenant",
    "user_id": "user",
    "thread_id": "thread",
    "run_id": "run",
    "request_id": "request",
}


def observe_log(
    process: str, path: Path, administrators: Mapping[str, Scope]
) -> Iterator[Observation]:
    """The lines of one process, each with the context that it states.

    Args:
        process: its name.
        path: of its log.
        administrators: the tenant of each administrator, by the user's identifier. What an
            administrator does may be to another user of the tenant, whom the line then names.
    """
    with path.open("rb") as log:
        for line in log:
            text = line.decode("utf-8", "backslashreplace").rstrip("\n")
            if not text:
                continue
            attribution = _attribution(text)
            yield Observation(
                Channel.LOGS,
                text,
                attribution=attribution,
                allowed=_allowed(attribution, administrators),
                source=f"{process} log",
            )


def _attribution(text: str) -> dict[str, str]:
    try:
        fields = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(fields, Mapping):
        return {}
    return {
        name: fields[field] for field, name in _FIELDS.items() if isinstance(fields.get(field), str)
    }


def _allowed(
    attribution: Mapping[str, str], administrators: Mapping[str, Scope]
) -> tuple[Allowance, ...] | None:
    if not attribution:
        # A line that says of nobody whose it is may name nobody.
        return ()
    tenant = administrators.get(attribution.get("user", ""))
    if tenant is None:
        return None
    return (Allowance(ObservationClass.IDENTIFIER, tenant),)
