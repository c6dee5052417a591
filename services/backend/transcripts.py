"""The transcripts' cache in Redis.

An entry belongs to one thread at one head: the head is read from Postgres first, under the asking
user's scope, so an entry is neither served to anybody else nor served stale.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

from contracts.context import DataScope, RunId, ThreadId
from services.backend.domain import Message, MessageRole
from services.runtime.redis import ScopedRedis

NAMESPACE: Final = "transcript"
LIFETIME_SECONDS: Final = 300
MAXIMUM_ENTRY_BYTES: Final = 256 * 1024

# Namespace, scope, and what else tells an entry from its neighbours.
TranscriptKey = tuple[str, DataScope, str]


def transcript_key(scope: DataScope, head_sequence: int) -> TranscriptKey:
    """The key of a thread's transcript at a head: the whole owner is in the scope."""
    return NAMESPACE, scope, str(head_sequence)


class TranscriptCache:
    """Keeps transcripts for five minutes. Entries over 256 KiB are not kept."""

    def __init__(self, redis: ScopedRedis) -> None:
        self._redis = redis

    async def get(self, scope: DataScope, head_sequence: int) -> tuple[Message, ...] | None:
        """The transcript, or `None` where it has to be read.

        Raises:
            Unavailable: Redis does not answer.
        """
        entry = await self._redis.get(*transcript_key(scope, head_sequence))
        return None if entry is None else _decode(entry)

    async def put(
        self, scope: DataScope, head_sequence: int, messages: tuple[Message, ...]
    ) -> None:
        """Keeps the transcript as it was at this head.

        Raises:
            Unavailable: Redis does not answer.
        """
        entry = _encode(messages)
        if len(entry) <= MAXIMUM_ENTRY_BYTES:
            await self._redis.set(
                *transcript_key(scope, head_sequence),
                value=entry,
                lifetime_seconds=LIFETIME_SECONDS,
            )


def _encode(messages: tuple[Message, ...]) -> bytes:
    return json.dumps(
        [
            {
                "message_id": message.message_id,
                "thread_id": message.thread_id,
                "run_id": message.run_id,
                "role": message.role,
                "content": message.content,
                "created_at": message.created_at.isoformat(),
            }
            for message in messages
        ],
        ensure_ascii=False,
    ).encode()


def _decode(entry: bytes) -> tuple[Message, ...]:
    return tuple(
        Message(
            message_id=fields["message_id"],
            thread_id=ThreadId(fields["thread_id"]),
            run_id=RunId(fields["run_id"]),
            role=MessageRole(fields["role"]),
            content=fields["content"],
            created_at=datetime.fromisoformat(fields["created_at"]),
        )
        for fields in json.loads(entry)
    )
