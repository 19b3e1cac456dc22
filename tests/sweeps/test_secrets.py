"""Passwords in addresses are in no file but the private one, in no output, and in no argument of a
process."""

import json
import os
import stat
import subprocess
from pathlib import Path
from urllib.parse import quote, quote_plus

import psutil
import pytest

from sweeps import runner, secrets
from sweeps.books import checksums, provenance
from sweeps.books.run_folder import Home, RunFolder
from sweeps.runner import DriveOptions
from sweeps.tracking.delivery import Tracking
from sweeps.tracking.ui import Server
from tests.sweeps.commands import home_of, sweep
from tests.sweeps.driven import begin, call, settings, tiny
from tests.sweeps.driving import Driver
from tests.sweeps.stores import postgres, stored
from zoneout_core.errors import ConfigError

PASSWORD = "S3cr@t/p:w%d\"'ö"
ENCODED = quote(PASSWORD, safe="")
NOWHERE = f"postgresql+psycopg://bob:{ENCODED}@127.0.0.1:1/db"
"""Nobody listens there."""
SHOWN = "postgresql+psycopg://bob:***@127.0.0.1:1/db"


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins as a process that has met no password, and none lies in its environment."""
    monkeypatch.setattr(secrets, "_known", {})
    for variable in (name for names in secrets.VARIABLES.values() for name in names):
        monkeypatch.delenv(variable, raising=False)


def forms() -> set[bytes]:
    """The ways to write the password, or the parts of it that a program could take for something
    else."""
    texts = {
        PASSWORD,
        ENCODED,
        quote_plus(PASSWORD),
        json.dumps(PASSWORD)[1:-1],
        repr(PASSWORD)[1:-1],
        "S3cr",
        "t/p:w",  # three bytes stand in a compressed picture by chance, and once did
    }
    return {text.encode() for text in texts}


def tells(text: str | bytes) -> bool:
    told = text.encode() if isinstance(text, str) else text
    return any(form in told for form in forms())


def telling(folder: Path) -> list[str]:
    """Files with the password in them, and the mode of each."""
    return sorted(
        f"{path.name} {stat.S_IMODE(path.stat().st_mode):o}"
        for path in folder.rglob("*")
        if path.is_file() and tells(path.read_bytes())
    )


@pytest.mark.parametrize(
    ("address", "as_shown"),
    [
        ("postgresql://bob:S3cr%40t@h:5/db", "postgresql://bob:***@h:5/db"),
        ("postgresql://bob:pa/ss?w@rd@h/db", "postgresql://bob:***@h/db"),
        ("mysql+pymysql://:only-a-password@h/db", "mysql+pymysql://:***@h/db"),
        ("postgresql://h/db?user=bob&password=a%20b&sslpassword=c", "postgresql://h/db?user=bob&password=***&sslpassword=***"),
        ("https://h/mlflow?access_token=abc#top", "https://h/mlflow?access_token=***#top"),
        ("http://bob:***@h:5000", "http://bob:***@h:5000"),
        ("http://[::1]:5000/x", "http://[::1]:5000/x"),
        ("postgresql://bob@h/db", "postgresql://bob@h/db"),
        ("sqlite:////home/a:b@c/study.db", "sqlite:////home/a:b@c/study.db"),
        ("", ""),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_its_passwords(address: str, as_shown: str) -> None:
    assert secrets.shown(address) == as_shown
    assert secrets.shown(as_shown) == as_shown
    assert secrets.mask(f"could not open '{address}': no") == f"could not open '{as_shown}': no"
    assert secrets.unmask(address or "sqlite://", "storage") if "***" not in address else True


def test_a_password_once_met_is_masked_in_every_form() -> None:
    assert secrets.shown(NOWHERE) == SHOWN
    for form in (
        PASSWORD,
        ENCODED,
        quote_plus(PASSWORD),
        repr(PASSWORD)[1:-1],
        json.dumps(PASSWORD)[1:-1],
    ):
        assert secrets.mask(f"login failed ({form})") == "login failed (***)", form


def test_a_short_password_is_masked_as_a_word_only() -> None:
    secrets.shown("postgresql://bob:test@h/db")
    assert secrets.mask("test_chunked_bpc of 'test'") == "test_chunked_bpc of '***'"


def test_a_password_that_is_not_encoded_never_passes_for_a_host() -> None:
    assert (
        secrets.unmask("postgresql://bob:pa/ss@word@h/db", "storage")
        == "postgresql://bob:pa%2Fss%40word@h/db"
    )


def test_the_environment_fills_in_what_an_address_leaves_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secrets.keep(tmp_path, "storage", NOWHERE)
    monkeypatch.setenv("PGPASSWORD", "of another database")
    assert secrets.unmask(SHOWN, "storage", tmp_path) == NOWHERE
    monkeypatch.setenv("ZONEOUT_STORAGE_PASSWORD", "new & better")
    filled = SHOWN.replace("***", "new%20%26%20better")
    assert secrets.unmask(SHOWN, "storage", tmp_path) == filled
    assert secrets.unmask(SHOWN.replace(":***", ""), "storage") == filled
    assert secrets.unmask("sqlite:///a.db", "storage") == "sqlite:///a.db"
    monkeypatch.delenv("ZONEOUT_STORAGE_PASSWORD")
    assert secrets.unmask(SHOWN, "storage") == SHOWN.replace("***", "of%20another%20database")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pw of mlflow")
    assert secrets.unmask("http://bob:***@h", "tracking") == "http://bob:pw%20of%20mlflow@h"
    assert secrets.mask("401 for 'pw of mlflow'") == "401 for '***'"


def test_a_password_that_is_nowhere_is_asked_for(tmp_path: Path) -> None:
    secrets.keep(tmp_path, "storage", NOWHERE.replace("/db", "/other"))
    with pytest.raises(ConfigError) as error:
        secrets.unmask(SHOWN, "storage", tmp_path)
    assert str(error.value) == (
        f"storage {SHOWN} needs its password, which is neither in the environment nor in the run's secrets.json. "
        "Set ZONEOUT_STORAGE_PASSWORD, or give the whole address again: --set storage=URL"
    )


def test_the_file_is_private_from_its_first_byte_and_only_there_while_it_is_needed(
    tmp_path: Path,
) -> None:
    before = os.umask(0)
    try:
        secrets.keep(tmp_path, "storage", NOWHERE)
    finally:
        os.umask(before)
    file = tmp_path / "secrets.json"
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)  # as a copy may be
    assert secrets.unmask(SHOWN, "storage", tmp_path) == NOWHERE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secrets.keep(tmp_path, "storage", SHOWN)
    assert json.loads(file.read_text()) == {"format": 2, "storage": NOWHERE}
    secrets.keep(tmp_path, "storage", "")
    assert json.loads(file.read_text()) == {"format": 2}


def test_a_definition_is_written_and_printed_without_it(tmp_path: Path) -> None:
    definition = tiny(storage=NOWHERE)
    run = begin(tmp_path / "home", definition)
    assert telling(tmp_path) == ["secrets.json 600"]
    assert run.definition().storage == SHOWN
    assert not tells(repr(definition))
    done = sweep("show", "demo", "--json", "--set", f"storage={NOWHERE}")
    assert not tells(done.out)
    assert json.loads(done.out)["storage"] == SHOWN


@pytest.mark.parametrize("how", [(), ("--json",), ("--traceback",)])
def test_a_storage_that_cannot_be_opened_is_told_without_it(
    tmp_path: Path, how: tuple[str, ...]
) -> None:
    told = [*settings(), "--set", f"storage={NOWHERE}"]
    done = sweep(
        "run", "demo", *told, "--inline", "--tracking", "none", "--home", tmp_path / "home", *how
    )
    assert done.code == 2
    assert f"{SHOWN!r} gives: " in done.err
    assert ("Traceback" in done.err) == ("--traceback" in how)
    assert not tells(done.out + done.err)
    assert set(telling(tmp_path)) <= {"secrets.json 600"}


def test_a_command_line_that_cannot_be_read_is_told_without_it() -> None:
    done = sweep("run", "demo", NOWHERE)
    assert done.code == 2
    assert SHOWN in done.err.replace("\n", "")
    assert not tells(done.out + done.err)


def test_an_mlflow_that_does_not_answer_is_told_without_it(tmp_path: Path) -> None:
    definition, said = tiny(num_trials=1), list[str]()
    run = begin(tmp_path / "home", definition)
    address = f"http://bob:{ENCODED}@127.0.0.1:1"
    how = DriveOptions(data=tmp_path, inline=True, tracking=address, drain_seconds=2)
    assert runner.drive(run, definition, how, said.append).undelivered
    assert any("MLflow at http://bob:***@127.0.0.1:1 does not take" in text for text in said)
    assert not tells("".join(said))
    assert telling(tmp_path) == ["secrets.json 600"]
    assert Tracking.of(run).uri == address
    done = sweep("deliver", run.name, *home_of(run), "--timeout", 1, "--json")
    assert not tells(done.out + done.err)
    assert json.loads(done.out)["tracking"] == "http://bob:***@127.0.0.1:1"
    (run.folder / "secrets.json").unlink()
    assert (
        "Set ZONEOUT_TRACKING_PASSWORD, or give the whole address again: --tracking URL"
        in sweep("resume", run.name, *home_of(run), "--inline").err
    )


def test_runs_of_before_lose_theirs_when_they_are_delivered_or_gone_on_with(
    copied: RunFolder, uri: str
) -> None:
    definition = checksums.read(copied.folder / "sweep.json")
    copied.write(copied.folder / "sweep.json", definition | {"storage": NOWHERE})
    copied.write(
        copied.tracking, {"uri": f"http://bob:{ENCODED}@127.0.0.1:1", "experiment": "demo"}
    )
    assert Tracking.of(copied).shown == "http://bob:***@127.0.0.1:1"
    assert not tells(copied.tracking.read_bytes())
    assert sweep("deliver", copied.name, *home_of(copied), "--tracking", uri).code == 0
    parent = stored(uri, "demo")[copied.name]
    assert parent.params["storage"] == SHOWN
    copied.write_definition(copied.definition())
    assert telling(copied.folder.parent) == ["secrets.json 600"]


def test_what_is_not_committed_is_written_down_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(
            ["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True
        )

    git("init")
    code = tmp_path / "mine.py"
    code.write_text("storage = None\n")
    git("add", "mine.py")
    git("commit", "-m", "mine")
    code.write_text(f'storage = "{NOWHERE}"\n')
    monkeypatch.setattr(provenance, "__file__", str(code))
    assert f'+storage = "{SHOWN}"' in provenance.collect("char_pydoc", "", "0", 1).code.diff


def test_pages_are_served_without_it_in_an_argument(tmp_path: Path) -> None:
    server = Server(NOWHERE, tmp_path / "mlflow", port=0)
    try:
        assert not tells(" ".join(psutil.Process(server.pid).cmdline()))
        assert stat.S_IMODE((tmp_path / "mlflow-server.log").stat().st_mode) == 0o600
    finally:
        server.stop()


@pytest.mark.needs_postgres
def test_a_whole_sweep_on_a_real_database(tmp_path: Path, uri: str) -> None:
    home = tmp_path / "home"
    with postgres(PASSWORD) as bare:
        address = bare.replace("mlflow@", f"mlflow:{ENCODED}@")
        hidden = bare.replace("mlflow@", "mlflow:***@")

        two = ["run", "demo", *settings(), "--set", "num_trials=2", "--inline"]
        ended = call(
            *two, "--set", f"storage={address}", "--tracking", uri, "--home", str(home), timeout=400
        )
        assert ended.returncode == 0, ended.stderr
        assert not tells(ended.stdout + ended.stderr)
        run = Home(home).run("latest")
        parent = stored(uri, "demo")[run.name]
        assert parent.params["storage"] == hidden
        assert "sweep.json" in parent.files
        for command in ("status", "report"):
            done = sweep(command, run.name, *home_of(run), "--json")
            assert done.code == 0, done.err
            assert not tells(done.out + done.err)
        assert telling(tmp_path) == ["secrets.json 600"]

        (run.folder / "secrets.json").unlink()
        done = sweep("resume", run.name, *home_of(run), "--inline", "--tracking", "none")
        assert done.code == 2
        assert "Set ZONEOUT_STORAGE_PASSWORD" in done.err

        command = [*two, "--set", f"storage={hidden}", "--tracking", "none"]
        driver = Driver(tmp_path / "other", *command, ZONEOUT_STORAGE_PASSWORD=PASSWORD)
        driver.until_records(1)
        assert not any(tells(" ".join(process.cmdline())) for process in driver.processes())
        assert "finished" in driver.wait()
        assert telling(tmp_path) == []
        assert Home(tmp_path / "other").run("latest").definition().storage == hidden
