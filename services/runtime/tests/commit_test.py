"""What is said of a commit whose answer never comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.runtime.errors import OutcomeUnknown, Unavailable, from_error, http_status
from services.runtime.postgres import Database
from services.runtime.postgres_errors import typed_error
from services.runtime.tests.probe import Probe, add_note, thread_scope

_COMMIT = b"COMMIT"
_INSERT = b"insert into notes"


class _Cut:
    """A way to Postgres that ends at the first message with these bytes, before or after it."""

    def __init__(self, url: str, message: bytes, *, delivered: bool) -> None:
        self._target = urlsplit(url)
        self._message = message
        self._delivered = delivered

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes bytes on in both directions until then."""
        server_reader, server_writer = await asyncio.open_connection(
            self._target.hostname, self._target.port
        )
        answers = asyncio.create_task(_pass_on(server_reader, writer))
        try:
            while chunk := await reader.read(65536):
                cut = self._message in chunk
                if cut:
                    # From here on no answer comes back.
                    answers.cancel()
                if not cut or self._delivered:
                    server_writer.write(chunk)
                    await server_writer.drain()
                if cut:
                    if self._delivered:
                        await server_reader.read(1)  # it has been done
                    break
        finally:
            answers.cancel()
            for each in (server_writer, writer):
                each.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()


@asynccontextmanager
async def _database_behind(cut: _Cut, url: str) -> AsyncIterator[Database]:
    async with await asyncio.start_server(cut.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        database = Database(url.replace(f":{urlsplit(url).port}/", f":{port}/"))
        try:
            yield database
        finally:
            await database.dispose()


@pytest.mark.parametrize(("delivered", "there"), [(True, [("note",)]), (False, [])])
async def test_a_commit_without_an_answer_is_unknown(
    probe: Probe, *, delivered: bool, there: list[tuple[str]]
) -> None:
    """Whether the row is there or not, the caller is told that nobody knows."""
    cut = _Cut(probe.url(), _COMMIT, delivered=delivered)
    async with _database_behind(cut, probe.url()) as database:
        with pytest.raises(OutcomeUnknown) as caught:
            await add_note(database, thread_scope(), "note")

    assert there == probe.rows("select note_id from notes")
    refusal = from_error(caught.value)
    assert ("UNKNOWN", 500) == (refusal.code.name, http_status(refusal))


async def test_a_connection_cut_before_the_commit_has_done_nothing(probe: Probe) -> None:
    """Without a commit nothing can have been done, and the caller may simply try again."""
    cut = _Cut(probe.url(), _INSERT, delivered=True)
    async with _database_behind(cut, probe.url()) as database:
        with pytest.raises(Unavailable) as caught:
            await add_note(database, thread_scope(), "note")

    assert not isinstance(caught.value, OutcomeUnknown)
    assert [] == probe.rows("select note_id from notes")


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InternalClientError("got result for unknown protocol state 0"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    ],
)
def test_each_word_of_the_driver_for_a_lost_connection(error: Exception) -> None:
    """However the driver says that its connection is gone, the caller may try again."""
    assert isinstance(typed_error(error), Unavailable)
