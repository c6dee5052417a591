"""A history is read back as it was written, and what is wrong with a file is said."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.audit import (
    Allowance,
    AuditPlan,
    Channel,
    CorruptHistoryError,
    HistoryError,
    NotAHistoryError,
    Observation,
    ObservationClass,
    Outcome,
    Reach,
    Reading,
    Scope,
    UnsupportedVersionError,
    Verdict,
    check_history,
    run_audit,
)
from integration.audit.history import HistoryWriter
from integration.audit.identifiers import Identifier
from integration.audit.population import populate
from integration.audit.reading import read_history
from integration.audit.records import Completed, Header, IdentifierIssued, Invoked, Noted, NoteKind
from integration.audit.tests.boards import DESCRIPTION, Board

PLAN = AuditPlan(operations=60, seed=5)
SCOPE = Scope("tenant-0", "user-0", "thread-0")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Give the bytes of a whole, passing history."""
    directory = tmp_path_factory.mktemp("history")
    report = asyncio.run(run_audit(Board(), PLAN, directory))
    assert Verdict.PASS is report.verdict
    return (directory / "history.jsonl").read_bytes()


observations = st.builds(
    Observation,
    st.sampled_from(list(Channel)),
    st.text() | st.binary(),
    st.none() | st.just(SCOPE),
    st.none()
    | st.lists(
        st.builds(
            Allowance,
            st.sampled_from(list(ObservationClass)),
            st.just(SCOPE),
            st.sampled_from(list(Reach)),
        )
    ).map(tuple),
    st.none() | st.dictionaries(st.sampled_from(["trace", "user"]), st.text(), min_size=1),
    st.text(),
    st.text(),
    st.none() | st.integers(0, 2**63),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seen=st.lists(observations, max_size=3), status=st.text(), mention=st.text(min_size=1))
def test_what_is_written_is_read_back(
    tmp_path: Path, seen: list[Observation], status: str, mention: str
) -> None:
    """Any text, bytes, scope and attribution come back; bytes as text with escapes."""
    path = tmp_path / "history.jsonl"
    path.unlink(missing_ok=True)
    invoked = Invoked(1, "post", "p", SCOPE, "ab", 5, ("c",), (mention,), True, 0, True)
    identifier = Identifier("id-123456", "thread", SCOPE, 1)
    outcome = Outcome.ok(status, seen, readings=[Reading("posts", 3)], mentions=[mention])
    with HistoryWriter(path, DESCRIPTION, PLAN) as writer:
        writer.population(populate(PLAN, DESCRIPTION.operations))
        writer.invoked(invoked)
        writer.identifier(identifier)
        writer.completed(1, outcome)
        writer.note(NoteKind.ADAPTER, "a note")

    header, *_, read_invoked, issued, completed, note = read_history(path)

    assert isinstance(header, Header)
    assert (DESCRIPTION, PLAN) == (header.description, header.plan)
    assert invoked == read_invoked
    assert IdentifierIssued(identifier) == issued
    assert isinstance(completed, Completed)
    assert (status, (Reading("posts", 3),)) == (completed.status, completed.readings)
    for wrote, read in zip(seen, completed.observations, strict=True):
        data = wrote.data
        text = data if isinstance(data, str) else data.decode("utf-8", "backslashreplace")
        assert wrote._replace(data=text) == read
    assert isinstance(note, Noted)


def test_a_history_is_on_disk_while_it_is_written(tmp_path: Path) -> None:
    """A process that dies leaves every line that it has written."""
    path = tmp_path / "history.jsonl"
    with HistoryWriter(path, DESCRIPTION, PLAN) as writer:
        writer.note(NoteKind.ADAPTER, "before the crash")

        assert "before the crash" in path.read_text(encoding="ascii")


def test_a_history_is_never_overwritten(tmp_path: Path) -> None:
    """A second audit into the same file is a mistake."""
    path = tmp_path / "history.jsonl"
    path.write_text("precious")

    with pytest.raises(FileExistsError):
        HistoryWriter(path, DESCRIPTION, PLAN)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_cut_off_history_never_passes(
    tmp_path: Path, history: bytes, data: st.DataObject
) -> None:
    """Cut anywhere, a passing history is an error or inconclusive, never PASS."""
    cut = data.draw(st.integers(0, len(history) - 2))
    path = tmp_path / "cut.jsonl"
    path.write_bytes(history[:cut])

    try:
        verdict = check_history(path).verdict
    except HistoryError:
        assert cut < history.index(b"\n") + 1
    else:
        assert verdict is not Verdict.PASS


def test_a_cut_off_last_line_is_noted(tmp_path: Path, history: bytes) -> None:
    """What a killed process leaves is read up to its last whole line."""
    path = tmp_path / "cut.jsonl"
    path.write_bytes(history[:-40])

    report = check_history(path)

    assert Verdict.INCONCLUSIVE is report.verdict
    assert any("cut off" in reason for reason in report.reasons)


def test_a_history_without_its_end_is_inconclusive(tmp_path: Path, history: bytes) -> None:
    """Cut between two lines nothing looks wrong, but the last line is missing."""
    path = tmp_path / "cut.jsonl"
    path.write_bytes(history[: history.rstrip().rindex(b"\n") + 1])

    report = check_history(path)

    assert Verdict.INCONCLUSIVE is report.verdict
    assert ["the history has no end: the audit did not finish"] == report.reasons


@pytest.mark.parametrize("content", [b"", b"\n", b"hello\n", b"[]\n", b'{"format": "other"}\n'])
def test_other_files_are_no_histories(tmp_path: Path, content: bytes) -> None:
    """A file without the header is refused by name."""
    path = tmp_path / "other"
    path.write_bytes(content)

    with pytest.raises(NotAHistoryError, match="other: its first line"):
        check_history(path)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_versions_are_refused(tmp_path: Path, history: bytes, version: object) -> None:
    """A file of another version is not guessed at."""
    header, _, rest = history.partition(b"\n")
    path = tmp_path / "later.jsonl"
    changed = json.dumps({**json.loads(header), "version": version}).encode()
    path.write_bytes(changed + b"\n" + rest)

    with pytest.raises(UnsupportedVersionError, match="reads up to 1"):
        check_history(path)


BAD_LINES = [
    "nonsense",
    "[]",
    "{}",
    '{"type": "surprise"}',
    '{"type": "scope", "number": 7000, "scope": ["a", "", ""]}',
    '{"type": "scope", "number": 17, "scope": ["a", "b", "c", "d"]}',
    '{"type": "identifier", "kind": "user", "value": 7, "owner": 1, "operation": null}',
    '{"type": "identifier", "kind": "user", "value": "abc", "owner": 1, "operation": null}',
    '{"type": "invoked", "operation": 1}',
    '{"type": "ok", "operation": 900000, "status": "200", "time": 1}',
    '{"type": "ok", "operation": 1, "status": 200, "time": 1}',
    '{"type": "observed", "time": 1, "observation": {"channel": "pigeon", "data": ""}}',
    '{"type": "observed", "time": 1, "observation": {"channel": "http", "data": 1}}',
    '{"type": "observed", "time": 1, "observation": {"channel": "http", "data": "", "scope": -1}}',
    '{"type": "observed", "time": 1, "subscription": 7, "observation": {"channel": "http"}}',
    '{"type": "subscribed", "subscription": 9, "name": "", "principal": "", "scope": 0, "time": 1}',
]


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_corrupt_line_is_named(tmp_path: Path, history: bytes, bad: str) -> None:
    """What is no record, or contradicts earlier ones, is refused with its line."""
    lines = history.decode().splitlines()
    number = next(n for n, line in enumerate(lines) if '"type":"invoked"' in line)
    lines.insert(number, bad)
    path = tmp_path / "corrupt.jsonl"
    path.write_text("\n".join(lines) + "\n")

    with pytest.raises(CorruptHistoryError) as caught:
        check_history(path)
    assert number + 1 == caught.value.line


def test_unknown_fields_are_ignored(tmp_path: Path, history: bytes) -> None:
    """A writer of the same version may say more than this reader knows."""
    path = tmp_path / "more.jsonl"
    path.write_bytes(history.replace(b'{"type":', b'{"more":[1],"type":'))

    assert Verdict.PASS is check_history(path).verdict
