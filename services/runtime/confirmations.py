"""What the consumers of a stream are done with, as the outbox learns of it.

A plain reading, without a group: every relay reads all confirmations, and whose row it is does not
matter. Nothing depends on one, for a row that was not confirmed is sent and confirmed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import Counter

from contracts.context import ContextError
from contracts.context.carriers.confirmation import Confirmation, read_confirmation
from services.runtime.logging import error_fields, service_logger
from services.runtime.redis import connect, unavailable
from services.runtime.streams import USAGE_STREAM, confirmations_of, entries_of_streams

CONFIRMATIONS: Final = Counter(
    "watertight_stream_confirmations", "Confirmations of entries, by how they ended.", ("outcome",)
)

_BEGINNING: Final = b"0"


@dataclass(frozen=True, slots=True)
class ConfirmationPage:
    """Confirmations in the order in which they came; `full`: there may be more at once."""

    confirmed: Sequence[Confirmation]
    last: bytes
    full: bool


class Confirmations:
    """Reads the confirmations of a stream's entries, from the oldest that is there.

    Args:
        url: of Redis, under the producing service's user.
        stream: the stream whose entries are confirmed.
        batch: how many are read at once.
    """

    def __init__(self, url: str, stream: str = USAGE_STREAM, *, batch: int = 1000) -> None:
        # Nothing is repeated: a connection that ended may have ended with the server's data, whose
        # next numbers may then be lower than the last one seen.
        self._client = connect(url, pool_size=1, repetitions=0)
        self._stream = confirmations_of(stream)
        self._batch = batch
        self._last = _BEGINNING

    async def read(self) -> ConfirmationPage:
        """The next ones, if there are any; the same again until `done` is told of them.

        What is malformed is counted and left out.

        Raises:
            Unavailable: Redis does not answer; the next reading begins anew.
        """
        try:
            with unavailable():
                answer: Any = await self._client.xread({self._stream: self._last}, self._batch)
        except BaseException:
            self._last = _BEGINNING
            raise
        entries = entries_of_streams(answer)
        confirmed = []
        for identifier, fields in entries:
            try:
                confirmation = read_confirmation(fields or {})
            except ContextError as error:
                CONFIRMATIONS.labels("malformed").inc()
                service_logger().error(
                    "confirmation skipped", entry=identifier.decode(), **error_fields(error)
                )
            else:
                confirmed.append(confirmation)
                CONFIRMATIONS.labels(confirmation.outcome).inc()
        last = entries[-1][0] if entries else self._last
        return ConfirmationPage(confirmed, last, len(entries) == self._batch)

    def done(self, page: ConfirmationPage) -> None:
        """Says that a page needs no second reading."""
        self._last = page.last

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()
