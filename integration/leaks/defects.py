"""Deliberate defects as data: each turns a suite red, which a test of that suite shows."""

from __future__ import annotations

from typing import Final

from integration.leaks.catalogue import LEAKS, Defect

DEFECTS: Final[tuple[Defect, ...]] = (
    Defect(
        name="acknowledged-too-early",
        description="a transaction is acknowledged first and committed in the background",
        service="backend",
    ),
    Defect(
        name="breaker-stays-open",
        description="who has once found the database gone never asks it again",
        service="backend",
    ),
    Defect(
        name="outbox-forgets",
        description="usage is forgotten once Redis has taken it, before analytics has it",
        service="backend",
    ),
    Defect(
        name="resume-off-by-one",
        description="a client that resumes misses the first event after the one that it has had",
        service="backend",
    ),
    Defect(
        name="subscription-outlives",
        description="who left a thread, or logged out, is sent its events all the same",
        service="backend",
    ),
    Defect(
        name="unbounded-buffer",
        description="whatever a client does not read is kept in the server's memory for it",
        service="backend",
    ),
    Defect(
        name="untyped-errors",
        description="the driver's words for a lost connection are told as a defect",
        service="backend",
    ),
    Defect(
        name="websocket-broadcast",
        description="events go to every connection of the process, for clients to pick theirs",
        service="backend",
    ),
)
"""Every deliberate defect that is no leak of the catalogue, by the suite that notices it."""


def defect_named(name: str) -> Defect:
    """The seeded leak or deliberate defect of that name.

    Raises:
        KeyError: there is none.
    """
    for defect in (*LEAKS, *DEFECTS):
        if defect.name == name:
            return defect
    raise KeyError(
        f"expected one of {', '.join(each.name for each in (*LEAKS, *DEFECTS))}; got {name!r}"
    )
