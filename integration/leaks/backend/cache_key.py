"""The key of a cached transcript lacks the thread."""

from __future__ import annotations

from contracts.context import DataScope
from services.backend import transcripts


def _key_without_thread(scope: DataScope, head_sequence: int) -> transcripts.TranscriptKey:
    if scope.tenant_id is None or scope.user_id is None:
        raise ValueError("expected the scope of a thread")
    user = DataScope.user(scope.tenant_id, scope.user_id)
    return transcripts.NAMESPACE, user, str(head_sequence)


def install() -> None:
    """Replaces `transcripts.transcript_key`."""
    transcripts.transcript_key = _key_without_thread
