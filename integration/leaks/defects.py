"""Deliberate defects as data: each turns a suite red, which a test of that suite shows."""

from __future__ import annotations

from typing import Final

from integration.leaks.catalogue import LEAKS, Defect

DEFECTS: Final[tuple[Defect, ...]] = ()
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
