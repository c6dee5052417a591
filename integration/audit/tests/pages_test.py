"""The page for people: whole in one file, right in its figures, safe whatever was observed."""

import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from integration.audit import Observation, Verdict
from integration.audit.activity import Activity, Timeline
from integration.audit.adapter import Result
from integration.audit.history import HistoryWriter
from integration.audit.pages import html
from integration.audit.plots import latencies_by_operation, outcomes_over_time
from integration.audit.population import AuditPlan, populate
from integration.audit.records import Completed, Header, Invoked, NoteKind, Record
from integration.audit.report import Report, check_history
from integration.audit.scopes import Level, Scope
from integration.audit.system import ChannelPlan, OperationKind, OperationPlan
from integration.audit.tests import stories
from integration.audit.tests.boards import DESCRIPTION
from integration.audit.tests.reading_pages import Page
from integration.audit.tests.stories import SECOND, Story
from integration.audit.verdict import judge
from integration.audit.vocabulary import Anomaly, Channel
from integration.audit.witness import witnesses

HOSTILE = "</style></svg><img src=x onerror='alert(1)'><script>alert(\"2\")</script>&amp;"


def report_of(path: Path, text: str) -> Report:
    """Give the report of a history with one note."""
    plan = AuditPlan()
    command = "audit --seed 1"
    with HistoryWriter(path, DESCRIPTION, plan, command=command, program="audit") as writer:
        writer.population(populate(plan, DESCRIPTION.operations))
        writer.note(NoteKind.ADAPTER, text)
        writer.ended()
    return check_history(path)


class Reports:
    """Makes the report of a story, as if it had been read from a file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = folder / "my report" / "history.jsonl"
        self._path.parent.mkdir()
        self._path.touch()
        self._patch = monkeypatch

    def of(self, story: Story) -> Report:
        """Check the story's records."""
        records: list[Record] = list(story.records)
        with self._patch.context() as patch:
            patch.setattr("integration.audit.report.read_history", lambda _: iter(records))
            return check_history(self._path)


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reports:
    """Reports of stories."""
    return Reports(tmp_path, monkeypatch)


def send(
    story: Story, plan: OperationPlan, thread: Scope, seconds: float, result: Result = Result.OK
) -> Invoked:
    """Do an operation that takes so long, up to the clock's step."""
    invoked = story.invoke(plan, thread)
    story.tick(seconds - 0.001)
    story.complete(invoked, result=result)
    return invoked


def leaking() -> Story:
    """Give a story in which one user reads what another wrote, which the log and a row carried."""
    story = stories.Story()
    first, *_, last = story.threads
    written = story.write(first)
    token = written.canaries[0]
    story.log(written)
    row = Observation(Channel.POSTGRES_ROWS, token, scope=first, source="table messages")
    story.see(row)
    story.see(row)
    seen = Observation(Channel.HTTP, f"a {token} b", source="page 2")
    story.complete(story.invoke(stories.READ, last), seen)
    return story


def test_the_page_needs_no_other_file(reports: Reports) -> None:
    """No script, no address, nothing to load; and it is right for screens, phones and paper."""
    text = html(reports.of(leaking()))
    page = Page(text)
    links = [a["href"] for tag, a in page.tags if "href" in a]
    targets = {a["id"] for tag, a in page.tags if "id" in a}

    assert links
    assert {link[1:] for link in links} <= targets
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not [a for _, a in page.tags if "src" in a or any(n.startswith("on") for n in a)]
    for word in ("http://", "https://", "url(", "@import", "<?xml", "<!--"):
        assert word not in text
    for rule in ("prefers-color-scheme: dark", "@media print", "max-width: 46rem"):
        assert rule in text


def test_every_section_is_there_in_its_order(reports: Reports) -> None:
    """The verdict comes first, then what shows it, and how to repeat it last."""
    page = Page(html(reports.of(leaking())))

    assert [
        "witnesses",
        "anomalies",
        "channels",
        "figures",
        "environment",
        "repeat",
    ] == page.ids
    assert page.text.index("LEAK\n") < page.text.index("Witnesses")


def test_the_page_shows_every_channel_and_anomaly(tmp_path: Path) -> None:
    """A row for each, with what was not checked and not observed said in words."""
    page = Page(html(report_of(tmp_path / "history.jsonl", "a note")))

    assert all(page.row(channel.value) for channel in Channel)
    assert all(page.row(anomaly.value) for anomaly in Anomaly)
    assert ["leak", "not checked"] == page.row("privilege-escalation")[:2]
    assert ["not observed"] == page.row("grpc")


def test_the_verdict_is_one_sentence_with_what_it_rests_on(
    tmp_path: Path, reports: Reports
) -> None:
    """Whoever reads only the first lines knows what was found, and in how much."""
    leak = reports.of(leaking())
    note = report_of(tmp_path / "history.jsonl", "a note")

    assert leak.sentence == (
        "Somebody observed what belongs to another: cross-tenant-read (1),"
        " in 4 observations of 2 operations on 12 channels."
    )
    assert note.sentence == (
        "Too little was seen to say anything, in 0 observations of 0 operations on 6 channels."
    )
    assert replace(note, verdict=Verdict.PASS).sentence.startswith("Nobody observed what belongs")
    assert leak.sentence in " ".join(Page(html(leak)).text.split())


def test_a_channel_says_what_is_due_and_what_was_seen(reports: Reports) -> None:
    """Promise, minimum, places, counts of observations and of canaries, and leaks."""
    description = replace(
        stories.DESCRIPTION,
        channels=(
            ChannelPlan(Channel.HTTP, minimum_observations=2, minimum_canaries=1),
            ChannelPlan(Channel.POSTGRES_ROWS, minimum_observations=1200, minimum_canaries=30),
            ChannelPlan(Channel.LOGS, minimum_observations=7),
        ),
    )
    story = leaking()
    story.records[0] = Header(description, AuditPlan(seed=7), "2026-01-01T00:00:00+00:00")
    page = Page(html(reports.of(story)))

    assert page.row("http") == [
        "at least 2 observations, and 1 content canary of their owners page 2 (1)",
        *("1", "0", "0", "1"),
    ]
    assert page.row("postgres-rows") == [
        "at least 1,200 observations, and 30 content canaries of their owners table messages (2)",
        *("2", "2", "0", "0"),
    ]
    assert page.row("logs") == ["at least 7 observations service log (1)", "1", "0", "2", "0"]
    (head,) = (head for head in page.rows if head.startswith("logs "))
    assert "content-free: holds nobody's content" in head


def test_an_anomaly_says_what_it_means_how_often_was_looked_and_found(reports: Reports) -> None:
    """Its meaning stands under its name; what was found stands beside the checks."""
    report = reports.of(leaking())
    page = Page(html(report))

    assert ["leak", str(report.anomalies[Anomaly.CROSS_TENANT_READ].checks), "1"] == page.row(
        "cross-tenant-read"
    )
    assert f"misroute {Anomaly.MISROUTE.meaning}" in page.rows


def test_a_witness_is_a_sequence_of_hops(reports: Reports) -> None:
    """Who wrote, what the writer was told, what carried it, who asked, who saw it, with times."""
    (steps,) = Page(html(reports.of(leaking()))).steps

    assert steps == [
        "wrote tenant-0/user-0#main, http: write on tenant-0/user-0/thread-0 1.0 ms",
        "was told tenant-0/user-0#main, http: ok 201 2.0 ms",
        "carried by postgres-rows: table messages (2 times) at rest",
        "carried by logs: service log at rest",
        "asked tenant-1/user-1#main, http: read on tenant-1/user-1/thread-1 6.0 ms",
        "saw it tenant-1/user-1#main, http: page 2 7.0 ms",
    ]


def test_an_operations_figures_are_right(reports: Reports) -> None:
    """Count, outcomes, rate, median, p95 and maximum, from twenty known latencies."""
    story = stories.Story()
    thread = next(iter(story.threads))
    for milliseconds in range(10, 30):
        refused = milliseconds >= 27
        send(
            story,
            stories.READ,
            thread,
            milliseconds / 1000,
            Result.FAILED if refused else Result.OK,
        )
    story.invoke(stories.READ, thread)
    story.tick(2 - story.now / SECOND)
    send(story, stories.LIST, thread, 0.1, Result.UNKNOWN)
    report = reports.of(story)
    page = Page(html(report))

    assert page.row("read") == ["http", "21", "17", "3", "1", "10.0", "19.0", "28.0", "29.0"]
    assert page.row("list") == ["http", "1", "0", "0", "1", "0.5", "100.0", "100.0", "100.0"]
    assert "write" not in page.rows


def test_plots_say_in_words_what_they_show(reports: Reports) -> None:
    """Each plot is an image with a description, whose numbers are the history's."""
    story = stories.Story()
    thread = next(iter(story.threads))
    for _ in range(3):
        send(story, stories.READ, thread, 0.01)
    send(story, stories.TOTAL, thread.at(Level.USER), 0.7, Result.FAILED)
    story.see(Observation(Channel.LOGS, "a line"))

    over_time, by_channel, latencies = Page(html(reports.of(story))).plots

    assert "3 acknowledged, 1 refused; bars of 0.0184 s, the highest of 2 operations" in over_time
    assert "Observations by channel: 1 in all, the most on logs: 1." in by_channel
    assert "The slowest by its median is total: 700.0 ms." in latencies


def test_without_operations_there_are_no_plots(tmp_path: Path) -> None:
    """Nothing is drawn of what there is not."""
    page = Page(html(report_of(tmp_path / "history.jsonl", "a note")))

    assert page.plots == []
    assert latencies_by_operation(()) is None
    assert outcomes_over_time(Timeline(1.0, {result.value: (0,) for result in Result})) is None


def test_the_page_says_what_was_driven_on_what_and_how_to_repeat_it(tmp_path: Path) -> None:
    """Versions, machine and plan; the command, and the one that judges the history again."""
    folder = tmp_path / "my report"
    folder.mkdir()
    report = report_of(folder / "history.jsonl", "a note")
    description = replace(report.header.description, configuration={"datastores": "PostgreSQL 18"})
    header = report.header._replace(description=description)
    page = Page(html(replace(report, header=header)))

    assert "PostgreSQL 18" == page.fact("datastores")
    assert page.fact("cores").isdecimal()
    assert re.fullmatch(r"\d+\.\d GiB", page.fact("memory"))
    assert re.fullmatch(r"3\.11\.\d+", page.fact("python"))
    assert ["2", "400"] == [page.fact("tenants"), page.fact("operations")]
    assert "audit --seed 1\n" in page.text
    assert "audit check 'my report/history.jsonl'" == report.check_command
    assert report.check_command in page.text


def test_observed_text_cannot_become_markup(reports: Reports) -> None:
    """What a system, its adapter or its observations say is shown, never run."""
    plan = OperationPlan(HOSTILE, Channel.HTTP, OperationKind.WRITE, stories.WRITE.level)
    read = replace(stories.READ, name=f"{HOSTILE} read")
    description = replace(
        stories.DESCRIPTION,
        name=HOSTILE,
        operations=(plan, read),
        configuration={HOSTILE: HOSTILE},
    )
    story = stories.Story(description=description)
    story.records[0] = Header(
        description, AuditPlan(seed=7), HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}
    )
    first, *_, last = story.threads
    written = story.invoke(plan, first)
    story.complete(written, status=HOSTILE)
    seen = Observation(Channel.HTTP, f"{written.canaries[0]} {HOSTILE}", source=HOSTILE)
    story.complete(story.invoke(read, last), seen)
    report = reports.of(story).with_reason(HOSTILE)

    text = html(report)
    page = Page(text)

    assert Verdict.LEAK is report.verdict
    assert "<script" not in text
    assert "<img" not in text
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    # In the verdict, witness, channel, plots, operations, configuration, machine and command.
    assert page.text.count(HOSTILE) > 15
    assert any(HOSTILE in plot for plot in page.plots)


def test_a_long_history_makes_no_long_page() -> None:
    """A hundred thousand operations are binned, and cost few bytes each."""
    activity = Activity()
    thread = next(iter(stories.Story().threads))
    tracemalloc.start()
    for number in range(100_000):
        started = number * 1_000_000
        activity.feed(Invoked(number, "read", "somebody", thread, "", started))
        ended = started + (1 + number % 500) * 1_000_000
        activity.feed(Completed(number, Result.OK, "200", ended))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    timeline = activity.timeline()
    operations = activity.operations([stories.READ], 100.0)
    plots = [outcomes_over_time(timeline), latencies_by_operation(operations)]

    assert [100_000, 40] == [sum(timeline.results["ok"]), len(timeline.results["ok"])]
    assert (250.0, 475.0, 500.0, 1000.0) == (
        operations[0].median_milliseconds,
        operations[0].p95_milliseconds,
        operations[0].maximum_milliseconds,
        operations[0].per_second,
    )
    assert all(plot is not None and len(plot.svg) < 40_000 for plot in plots)
    assert peak_bytes < 5_000_000


def test_the_json_has_what_the_page_has(reports: Reports) -> None:
    """Programs get the same figures; nothing that was there before is missing."""
    values = reports.of(leaking()).to_json()

    before = (
        "verdict exit_code reasons system command seed plan configuration started"
        " duration_seconds channels anomalies witnesses metrics"
    )

    added = "sentence machine check_command operations timeline"
    assert {*before.split(), *added.split()} == set(values)
    assert isinstance(values["operations"], dict)
    assert 1 == values["operations"]["read"]["count"]


def test_a_witness_has_who_wrote_and_who_saw_and_nothing_else() -> None:
    """Two operations of many show a leak."""
    story = leaking()
    examination = story.finish()
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
    verdict, reasons = judge(leaking().finish())

    assert Verdict.LEAK is verdict
    assert reasons
