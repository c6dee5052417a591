"""Canaries tell their owner, survive what text goes through, and are never chance text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.audit.canaries import LENGTH, OPERATIONS_LIMIT, OWNERS_LIMIT, CanaryMint

owners = st.integers(0, OWNERS_LIMIT - 1)
operations = st.integers(0, OPERATIONS_LIMIT - 1)
seeds = st.integers(0, 2**63 - 1)


@given(seed=seeds, owner=owners, operation=operations, slot=st.integers(0, 35))
def test_a_canary_tells_owner_and_operation(
    seed: int, owner: int, operation: int, slot: int
) -> None:
    """What was planted is read back from the token alone."""
    mint = CanaryMint(seed)
    token = mint.plant(owner, operation, slot)

    canary = CanaryMint(seed).read(token)

    assert canary is not None
    assert (owner, operation, slot) == (canary.owner, canary.operation, canary.slot)
    assert owner == mint.owner_of(token)


@given(seed=seeds, owner=owners, operation=operations)
def test_a_canary_has_at_most_24_lower_case_letters_and_digits(
    seed: int, owner: int, operation: int
) -> None:
    """It survives case folding, cutting and escaping."""
    token = CanaryMint(seed).plant(owner, operation)

    assert LENGTH == len(token) == 24
    assert re.fullmatch("[a-z0-9]+", token)


@given(before=st.text(max_size=30), after=st.text(max_size=30))
def test_a_canary_is_found_in_any_text_and_case(before: str, after: str) -> None:
    """Whatever stands around it, glued or not."""
    mint = CanaryMint(1)
    token = mint.plant(3, 4)

    assert token in mint.find(before + token + after)
    assert token in mint.find(before + token.upper() + after)


@given(seed=seeds, position=st.integers(0, 23), letter=st.sampled_from("abcxyz0189"))
def test_an_altered_token_is_no_canary(seed: int, position: int, letter: str) -> None:
    """A changed character is told from a canary (by six characters of checksum)."""
    mint = CanaryMint(seed)
    token = mint.plant(5, 6)
    altered = token[:position] + letter + token[position + 1 :]

    assert (altered == token) is (mint.read(altered) is not None)


def test_another_seed_reads_nothing() -> None:
    """A token of another run belongs to nobody here."""
    token = CanaryMint(1).plant(5, 6)

    assert CanaryMint(2).read(token) is None


def test_what_does_not_fit_is_refused() -> None:
    """An owner beyond the limit would be another owner."""
    with pytest.raises(ValueError, match="does not fit"):
        CanaryMint(1).plant(OWNERS_LIMIT, 0)
