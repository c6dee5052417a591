"""The page for people: whole in one file, and safe whatever was observed."""

from pathlib import Path

from integration.audit import Observation, Verdict
from integration.audit.examination import Examination
from integration.audit.history import HistoryWriter
from integration.audit.pages import html
from integration.audit.population import AuditPlan, populate
from integration.audit.records import NoteKind
from integration.audit.report import Report, check_history
from integration.audit.tests import stories
from integration.audit.tests.boards import DESCRIPTION
from integration.audit.verdict import judge
from integration.audit.vocabulary import Anomaly, Channel
from integration.audit.witness import witnesses


def report_of(path: Path, text: str) -> Report:
    """Give the report of a history with one note."""
    plan = AuditPlan()
    with HistoryWriter(path, DESCRIPTION, plan) as writer:
        writer.population(populate(plan, DESCRIPTION.operations))
        writer.note(NoteKind.ADAPTER, text)
        writer.ended()
    return check_history(path)


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    """No script, no address, and both colour schemes."""
    page = html(report_of(tmp_path / "history.jsonl", "a note"))

    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "prefers-color-scheme: dark" in page


def test_the_page_shows_every_channel_and_anomaly(tmp_path: Path) -> None:
    """A row for each, with what was not checked said in words."""
    page = html(report_of(tmp_path / "history.jsonl", "a note"))

    assert all(f"<td>{channel.value}</td>" in page for channel in Channel)
    assert all(f"<td>{anomaly.value}</td>" in page for anomaly in Anomaly)
    assert "not checked" in page


def test_observed_text_cannot_become_markup(tmp_path: Path) -> None:
    """What a system says is shown, never run."""
    page = html(report_of(tmp_path / "history.jsonl", "<script>alert(1)</script>"))

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def leaking() -> tuple[stories.Story, Examination]:
    """Give a story in which one user reads what another wrote."""
    story = stories.Story()
    first, *_, last = story.threads
    token = story.write(first).canaries[0]
    seen = Observation(Channel.HTTP, f"a {token} b", source="page 2")
    story.complete(story.invoke(stories.READ, last), seen)
    return story, story.finish()


def test_a_witness_has_who_wrote_and_who_saw_and_nothing_else() -> None:
    """Two operations of many show a leak."""
    story, examination = leaking()
    found = examination.findings.retained

    (witness,) = witnesses(found, examination.ledger, story.records)

    assert ["write", "read"] == [part.name for part in witness.operations]
    assert ["201", "200"] == [part.status for part in witness.operations]
    assert "tenant-0/user-0#main" == witness.writer
    assert "tenant-1/user-1#main" == witness.observer
    assert ("http", "page 2") == (witness.channel, witness.hop)
    assert witness.token in witness.excerpt


def test_a_leak_outranks_what_is_inconclusive() -> None:
    """LEAK stands though nothing else of the story is conclusive."""
    _, examination = leaking()

    verdict, reasons = judge(examination)

    assert Verdict.LEAK is verdict
    assert reasons
