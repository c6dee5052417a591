import tarfile
from pathlib import Path

import pytest

from tools.datastores import MigrationError, PostgresServer, ServiceMigration, build_cluster
from tools.datastores.prepare_cluster import main
from tools.datastores.tests.connections import connected
from tools.datastores.tests.migrations import migration, program


def test_archive_holds_no_password_and_no_verifier(cluster: Path) -> None:
    """What Bazel caches and shares is no secret."""
    content = cluster.read_bytes()

    assert b"SCRAM-SHA-256$" not in content
    assert b"alpha_service" in content  # so the search would find something


def test_verifiers_would_be_found_in_an_archive(tmp_path: Path) -> None:
    """The check above can fail: a role with a password leaves its verifier in the data."""
    statements = ("ALTER ROLE CURRENT_USER PASSWORD 'secret'",)
    archive = tmp_path / "cluster.tar"

    build_cluster(archive, [migration(tmp_path, "alpha", statements=statements)])

    assert b"SCRAM-SHA-256$" in archive.read_bytes()


def test_migration_runs_as_the_owner(cluster: Path) -> None:
    """The session is the owner's own, and not a superuser's in disguise."""
    said = (cluster.parent / "logs/migrate-alpha.log").read_text()

    assert "[('alpha_owner', 'alpha_owner', 'alpha')]\n" == said


def test_archive_has_nothing_of_the_machine_that_made_it(cluster: Path) -> None:
    """No lock, no option file with paths, no owner's name, no time."""
    with tarfile.open(cluster) as archive:
        members = archive.getmembers()

    names = {member.name for member in members}
    assert "data/PG_VERSION" in names
    assert not names & {"data/postmaster.pid", "data/postmaster.opts"}
    assert {(65534, 65534, 0)} == {(each.uid, each.gid, int(each.mtime)) for each in members}


def test_failing_migration_says_why_and_writes_nothing(tmp_path: Path) -> None:
    """The program's last words are in the error; there is no half-made archive."""
    archive = tmp_path / "cluster.tar"
    broken = migration(tmp_path, "alpha", statements=("SELECT no_such_thing",))

    with pytest.raises(MigrationError, match=r"service 'alpha'(.|\n)*no_such_thing"):
        build_cluster(archive, [broken])

    assert not archive.exists()


def test_migration_gets_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the caller's environment holds is not the migration's business."""
    monkeypatch.setenv("SECRET", "hush")
    report = tmp_path / "environment"
    dump = f"import os; open({str(report)!r}, 'w').write(repr(sorted(os.environ)))"
    service = ServiceMigration(
        name="alpha", program=program(tmp_path / "dump", dump), env={"GIVEN": "yes"}
    )

    build_cluster(tmp_path / "cluster.tar", [service])

    assert "SECRET" not in report.read_text()
    assert "GIVEN" in report.read_text()
    assert "DATABASE_URL" in report.read_text()


async def test_command_line_prepares_services_and_their_roles(tmp_path: Path) -> None:
    """Roles go to the service with the longest name that they begin with."""
    archive = tmp_path / "cluster.tar"
    programs = [
        f"--service={name}={migration(tmp_path, name).program}" for name in ("alpha", "alpha_two")
    ]

    assert 0 == main(
        [f"--output={archive}", *programs, "--role=alpha_relay", "--role=alpha_two_relay"]
    )

    with PostgresServer.from_prepared(archive) as server:
        for service in ("alpha", "alpha_two"):
            async with connected(server.dsn(service, f"{service}_relay")) as connection:
                assert service == await connection.fetchval("SELECT current_database()::text")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: --output, --service"),
        (["--output=o", "--service=alpha"], "expected NAME=PROGRAM"),
        (["--output=o", "--service=alpha=p", "--service=alpha=q"], "each name once"),
        (["--output=o", "--service=alpha=p", "--role=beta_relay"], "no service is called"),
        (["--output=o", "--service=Alpha=p"], "'Alpha' is no name"),
    ],
)
def test_wrong_arguments_are_explained(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Code 2 and a sentence."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert 2 == caught.value.code
    assert message in capsys.readouterr().err


def test_failure_is_code_1_and_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that does not exist is named."""
    code = main([f"--output={tmp_path / 'c.tar'}", f"--service=alpha={tmp_path / 'nothing'}"])

    assert 1 == code
    assert "the migration of service 'alpha' failed" in capsys.readouterr().err


def test_role_of_another_service_is_refused(tmp_path: Path) -> None:
    """A service's roles carry its name."""
    with pytest.raises(ValueError, match="must begin with alpha_"):
        ServiceMigration(name="alpha", program=tmp_path, roles=["beta_relay"])
