"""The home and a run's folder: one driver at a time, and the exact words when something is in the
way."""

import json
import shutil
from pathlib import Path

import pytest

from sweeps.books import checksums
from sweeps.books.run_folder import Home, RunFolder, open_run
from sweeps.definition import Sweep
from tests.sweeps.driven import begin, call, curves, drive_inline, tiny
from tests.sweeps.driving import sweep_run
from zoneout_core.errors import ConfigError, HomeError, RunError, UnknownName


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_run_is_named_after_its_sweep_and_the_time_and_none_takes_anothers_name(
    home: Home,
) -> None:
    runs = [home.create(tiny()) for _ in range(3)]
    assert len({run.name for run in runs}) == 3
    assert all(run.name.startswith("demo-2") for run in runs)
    assert [run.name for run in home.runs()] == [run.name for run in runs]
    assert home.run("latest").name == runs[-1].name
    assert home.run(runs[0].name).definition() == tiny()


def test_an_unknown_run_is_named_with_the_closest_match(home: Home) -> None:
    with pytest.raises(RunError) as none:
        home.run("latest")
    assert (
        str(none.value)
        == f"There is no run in {home.folder} yet. Begin one with: {home.command('run', 'demo')}"
    )
    with pytest.raises(UnknownName) as nothing:
        home.run("demo-1")
    assert (
        str(nothing.value) == f"There is no run in {home.folder} named 'demo-1'. What exists: none."
    )
    run = home.create(tiny())
    with pytest.raises(UnknownName) as close:
        home.run(run.name[:-1])
    assert str(close.value) == (
        f"There is no run in {home.folder} named '{run.name[:-1]}'. Did you mean '{run.name}'? "
        f"What exists: {run.name}, latest."
    )


def test_a_definition_that_is_damaged_is_named(home: Home) -> None:
    run = home.create(tiny())
    file = run.folder / "sweep.json"

    def refused() -> str:
        with pytest.raises(RunError) as error:
            run.definition()
        return str(error.value)

    begin, end = (
        f"Run {run.name} needs its definition in {file}, but it cannot be used: ",
        " Restore the file, or begin a new run; see what can be run with: sweep ls",
    )
    whole = file.read_text()
    file.write_text(whole.replace('"epochs": 2', '"epochs": 3'))
    stated = json.loads(whole)["crc32"]
    assert refused().startswith(
        f"{begin}it must add up to its checksum '{stated}', but adds up to '"
    )
    run.write(file, {"name": "demo", "arithmetic": 2})
    lacking = (
        "A definition needs name, description, base and space, but has no base, description, space."
    )
    assert refused() == begin + lacking + end
    file.unlink()
    assert refused().startswith(f"{begin}[Errno 2]")


def test_a_run_whose_definition_is_lost_is_still_known_by_its_name(
    copied: RunFolder, finished: RunFolder
) -> None:
    (copied.folder / "sweep.json").unlink()
    found = Home(copied.folder.parent).run(copied.name)
    assert curves(found) == curves(finished)
    with pytest.raises(RunError, match=r"needs its definition in .*sweep\.json"):
        found.definition()


def test_a_file_in_the_way_of_the_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    for folder in (tmp_path / "home", tmp_path / "home" / "below"):
        with pytest.raises(HomeError) as error:
            Home(folder).create(tiny())
        assert str(error.value) == (
            f"Runs are kept in {folder}, which must be writable, but: Not a directory. "
            "Make room or choose another folder with --home DIR (or $ZONEOUT_HOME)."
        )


def test_a_resumed_run_keeps_its_definition_but_may_change_how_it_is_driven(home: Home) -> None:
    begun = home.create(tiny())
    run, sweep = open_run(
        home, "latest", {"lanes": "2", "time_budget_s": "9", "max_failures": "0", "num_trials": "5"}
    )
    assert (run.name, sweep.lanes, sweep.time_budget_s, sweep.max_failures, sweep.num_trials) == (
        begun.name,
        2,
        9.0,
        0,
        5,
    )
    with pytest.raises(ConfigError) as error:
        open_run(home, begun.name, {"epochs": "9", "scheduler": "asha"})
    assert str(error.value) == (
        "A resumed run keeps its definition, but this would change scheduler: none -> asha; epochs: 2 -> 9. "
        f"Begin a new run with: {home.command('run', 'demo')}"
    )


def test_a_run_has_one_driver_at_a_time(home: Home) -> None:
    run = home.create(tiny())
    assert not run.is_driven()
    with run.driving():
        assert run.is_driven()
        assert RunFolder(run.folder).is_driven()
        holder = json.loads((run.folder / "lock").read_text())
        with pytest.raises(RunError) as error, RunFolder(run.folder).driving():
            pass
    assert str(error.value) == (
        f"A run has one driver at a time, and {run.name} is driven by process {holder['pid']} on {holder['host']} "
        f"since {holder['since']}. Watch it with: {run.command('status')}   or end it with: {run.command('stop')}"
    )
    assert not run.is_driven()


def test_only_a_driven_run_can_be_asked_to_stop(home: Home) -> None:
    run = home.create(tiny())
    with pytest.raises(RunError) as error:
        run.request_stop()
    assert str(error.value) == (
        f"Only a driven run can be stopped, and nobody drives {run.name}. Go on with it: {run.command('resume')}"
    )
    (run.folder / "stop").touch()  # of a driver that was killed before it saw it
    with run.driving():
        assert not run.stop_requested()
        run.request_stop()
        assert run.stop_requested()
    assert not run.stop_requested()


def refused(*arguments: str) -> str:
    """What a command says that ends with exit code 2."""
    done = call(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


def test_a_second_driver_is_refused_and_the_first_one_not_disturbed(
    tmp_path: Path, finished: RunFolder
) -> None:
    driver = sweep_run(tmp_path / "home", "--inline", "--tracking", "none")
    driver.until_records(2)
    with driver.stopped():
        holder = json.loads((driver.run.folder / "lock").read_text())
        said = refused("resume", driver.run.name, "--inline", "--home", str(driver.home))
    assert holder["pid"] == driver.process.pid
    assert said.endswith(
        f"error: A run has one driver at a time, and {driver.run.name} is driven by process {holder['pid']} on "
        f"{holder['host']} since {holder['since']}. Watch it with: {driver.run.command('status')}   "
        f"or end it with: {driver.run.command('stop')}\n"
    )
    assert "finished" in driver.wait()
    assert curves(driver.run) == curves(finished)


def test_commands_on_runs_that_do_not_fit_say_so_in_one_line(copied: RunFolder) -> None:
    home = str(copied.folder.parent)
    assert refused("resume", "demo-1", "--home", home) == (
        f"error: There is no run in {home} named 'demo-1'. What exists: {copied.name}, latest.\n"
    )
    assert refused("resume", copied.name, "--set", "epochs=9", "--home", home) == (
        "error: A resumed run keeps its definition, but this would change epochs: 2 -> 9. "
        f"Begin a new run with: sweep run demo --home {home}\n"
    )
    told = checksums.read(copied.provenance)
    now, told["drivers"][0]["data"]["sha256"] = told["drivers"][0]["data"]["sha256"], "0" * 64
    copied.write(copied.provenance, told)
    assert refused("resume", copied.name, "--inline", "--home", home).endswith(
        f"error: A resumed run needs the data it began with, but char_pydoc had SHA-256 {'0' * 64} then and has {now} "
        f"now. Restore the data, or begin a new run with: sweep run demo --home {home}\n"
    )
    in_the_way = str(copied.folder / "sweep.json")
    assert refused("run", "demo", "--home", in_the_way) == (
        f"error: --home must be a folder, but {in_the_way} is a file. Name another folder, or leave the option out.\n"
    )


def test_resuming_with_more_trials_goes_on_where_the_budget_ended(
    home: Home, finished: RunFolder
) -> None:
    sweep: Sweep = tiny(num_trials=2)
    run = begin(home.folder, sweep)
    drive_inline(run, sweep)
    again, more = open_run(home, "latest", {"num_trials": "0"})
    assert drive_inline(again, more).state == "finished"
    assert curves(again) == curves(finished)


def test_a_home_may_move_between_drivers(
    copied: RunFolder, finished: RunFolder, tmp_path: Path
) -> None:
    lines = copied.journal.read_bytes().splitlines(keepends=True)
    copied.journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    moved = RunFolder(Path(shutil.move(copied.folder, tmp_path / copied.name)))
    assert drive_inline(moved, moved.definition()).state == "finished"
    assert curves(moved) == curves(finished)
