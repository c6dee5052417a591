"""Reads a history back, line by line: memory does not grow with the file."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from integration.audit.adapter import Observation, Reading, Result
from integration.audit.errors import CorruptHistoryError, NotAHistoryError, UnsupportedVersionError
from integration.audit.header import FORMAT, VERSION, header_from
from integration.audit.identifiers import Identifier
from integration.audit.population import Principal
from integration.audit.records import (
    Completed,
    Ended,
    Header,
    IdentifierIssued,
    Invoked,
    Noted,
    NoteKind,
    Observed,
    PrincipalDeclared,
    Record,
    ScopeDeclared,
    Subscribed,
    Unsubscribed,
)
from integration.audit.scopes import Allowance, Reach, Scope
from integration.audit.vocabulary import Channel, ObservationClass

_CHANNELS = {channel.value: channel for channel in Channel}
_RESULTS = {result.value: result for result in Result}

_Fields = Mapping[str, Any]


def read_history(path: Path) -> Iterator[Record]:
    """Give every record of a history file, the header first.

    A last line that is cut off, which a killed process leaves, ends the history with a note.
    Raises a `HistoryError` for anything else that is not as the format says.
    """
    with path.open("rb") as file:
        yield _header(path, file.readline())
        reader = _RecordReader()
        for line, content in enumerate(file, start=2):
            try:
                fields = json.loads(content)
            except ValueError as error:
                if not content.endswith(b"\n"):
                    yield Noted(0, NoteKind.TRUNCATED, f"line {line} is cut off")
                    return
                raise CorruptHistoryError(path, line, f"not JSON: {error}") from error
            try:
                record = reader.record(fields)
            except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                reason = f"not a record: {type(error).__name__}: {error}"
                raise CorruptHistoryError(path, line, reason) from error
            yield record


def _header(path: Path, content: bytes) -> Header:
    try:
        fields = json.loads(content)
    except ValueError as error:
        raise NotAHistoryError(path, "its first line is not JSON") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise NotAHistoryError(path, f"its first line names no format {FORMAT!r}")
    if fields.get("version") != VERSION:
        raise UnsupportedVersionError(path, fields.get("version"), VERSION)
    try:
        return header_from(fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"not a header: {type(error).__name__}: {error}"
        raise CorruptHistoryError(path, 1, reason) from error


class _RecordReader:
    """Turns lines into records; knows the scopes that were declared so far."""

    def __init__(self) -> None:
        self._scopes: list[Scope] = []
        self._readers: dict[str, Callable[[_Fields], Record]] = {
            "scope": self._scope_declared,
            "principal": self._principal_declared,
            "identifier": self._identifier_issued,
            "invoked": self._invoked,
            "ok": self._completed,
            "failed": self._completed,
            "unknown": self._completed,
            "subscribed": self._subscribed,
            "unsubscribed": self._unsubscribed,
            "observed": self._observed,
            "note": lambda f: Noted(_integer(f["time"]), _text(f["kind"]), _text(f["text"])),
            "ended": lambda f: Ended(_integer(f["time"])),
        }

    def record(self, fields: _Fields) -> Record:
        return self._readers[fields["type"]](fields)

    def _scope(self, number: int) -> Scope:
        if number < 0:
            raise IndexError(f"scope {number}")
        return self._scopes[number]

    def _scope_declared(self, fields: _Fields) -> ScopeDeclared:
        number = _integer(fields["number"])
        if number != len(self._scopes):
            raise ValueError(f"scope {number} where {len(self._scopes)} is due")
        scope = Scope(*map(_text, fields["scope"]))
        self._scopes.append(scope)
        return ScopeDeclared(number, scope)

    def _principal_declared(self, fields: _Fields) -> PrincipalDeclared:
        return PrincipalDeclared(
            Principal(
                name=_text(fields["name"]),
                scope=self._scope(fields["scope"]),
                authority=self._scope(fields["authority"]),
                login=_text(fields["login"]),
                role=_text(fields["role"]),
                session=_text(fields["session"]),
            )
        )

    def _identifier_issued(self, fields: _Fields) -> IdentifierIssued:
        operation = fields["operation"]
        return IdentifierIssued(
            Identifier(
                value=_text(fields["value"]),
                kind=_text(fields["kind"]),
                owner=self._scope(fields["owner"]),
                operation=None if operation is None else _integer(operation),
            )
        )

    def _invoked(self, fields: _Fields) -> Invoked:
        twin = fields.get("twin")
        return Invoked(
            number=_integer(fields["operation"]),
            name=_text(fields["name"]),
            principal=_text(fields["principal"]),
            scope=self._scope(fields["scope"]),
            trace=_text(fields["trace"]),
            time=_integer(fields["time"]),
            canaries=tuple(fields.get("canaries", ())),
            mentions=tuple(fields.get("mentions", ())),
            absent=bool(fields.get("absent")),
            twin=None if twin is None else _integer(twin),
            final=bool(fields.get("final")),
        )

    def _completed(self, fields: _Fields) -> Completed:
        return Completed(
            number=_integer(fields["operation"]),
            result=_RESULTS[fields["type"]],
            status=_text(fields["status"]),
            time=_integer(fields["time"]),
            observations=tuple(map(self._observation, fields.get("observations", ()))),
            readings=tuple(map(self._reading, fields.get("readings", ()))),
            mentions=tuple(fields.get("mentions", ())),
            session=_text(fields.get("session", "")),
        )

    def _reading(self, row: list[Any]) -> Reading:
        measure, value, scope = row
        return Reading(
            _text(measure), _integer(value), None if scope is None else self._scope(scope)
        )

    def _subscribed(self, fields: _Fields) -> Subscribed:
        return Subscribed(
            number=_integer(fields["subscription"]),
            name=_text(fields["name"]),
            principal=_text(fields["principal"]),
            scope=self._scope(fields["scope"]),
            time=_integer(fields["time"]),
        )

    @staticmethod
    def _unsubscribed(fields: _Fields) -> Unsubscribed:
        return Unsubscribed(
            number=_integer(fields["subscription"]),
            time=_integer(fields["time"]),
            reason=_text(fields["reason"]),
            status=_text(fields["status"]),
        )

    def _observed(self, fields: _Fields) -> Observed:
        return Observed(
            _integer(fields["time"]),
            self._observation(fields["observation"]),
            fields.get("subscription"),
        )

    def _observation(self, fields: _Fields) -> Observation:
        scope = fields.get("scope")
        allowed = fields.get("allowed")
        sequence = fields.get("sequence")
        return Observation(
            _CHANNELS[fields["channel"]],
            _text(fields["data"]),
            None if scope is None else self._scope(scope),
            None if allowed is None else tuple(map(self._allowance, allowed)),
            fields.get("attribution"),
            fields.get("source", ""),
            fields.get("stream", ""),
            None if sequence is None else _integer(sequence),
        )

    def _allowance(self, row: list[Any]) -> Allowance:
        observed, scope, reach = row
        return Allowance(ObservationClass(observed), self._scope(scope), Reach(reach))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is due, but {value!r} came")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"a number is due, but {value!r} came")
    return value
