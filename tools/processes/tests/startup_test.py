from tools.processes import Supervisor
from tools.processes.startup import StartupRecord, startup_table, with_critical_path
from tools.processes.tests.programs import server


def test_critical_path_follows_the_dependency_that_was_ready_last() -> None:
    """The path leads from the last process back through what each step waited for."""
    records = {
        name: StartupRecord(name, begin, ready)
        for name, begin, ready in [
            ("postgres", 0.0, 0.3),
            ("valkey", 0.0, 0.1),
            ("auth", 0.3, 0.8),
            ("backend", 0.8, 1.5),
            ("analytics", 0.3, 0.9),
        ]
    }
    depends_on = {
        "postgres": [],
        "valkey": [],
        "auth": ["valkey", "postgres", "started-before"],
        "backend": ["auth", "valkey"],
        "analytics": ["postgres"],
    }

    marked = with_critical_path(records, depends_on)

    assert ["valkey", "postgres", "auth", "analytics", "backend"] == [each.name for each in marked]
    assert ["postgres", "auth", "backend"] == [each.name for each in marked if each.critical]


def test_table_shows_milliseconds_and_marks_the_path() -> None:
    """One line for each process, in milliseconds, with a star where the start waited."""
    table = startup_table(
        [StartupRecord("valkey", 0.0, 0.004), StartupRecord("postgres", 0.001, 0.03, critical=True)]
    )

    assert [
        ["process", "began", "took", "healthy"],
        ["valkey", "0", "ms", "4", "ms", "4", "ms"],
        ["*", "postgres", "1", "ms", "29", "ms", "30", "ms"],
    ] == [line.split() for line in table.splitlines()]


def test_supervisor_keeps_the_records_of_its_start() -> None:
    """After a start the table lists every process of it."""
    with Supervisor() as supervisor:
        supervisor.start(server("one"), server("two", depends_on=["one"]))

        assert ["one", "two"] == [record.name for record in supervisor.startup_records]
        assert all(record.critical for record in supervisor.startup_records)
        assert "* two" in supervisor.startup_table()
