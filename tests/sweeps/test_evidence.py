"""What a home's old trials are to another version of the code: what they were when they were
trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeps import pasting, runner
from sweeps.books.run_folder import Home, RunFolder
from sweeps.paper import found_trials, reproducing
from tests.sweeps.driven import begin, drive_inline, tiny
from zoneout_core import records
from zoneout_core.config.trial import OptimConfig, TrialConfig
from zoneout_core.errors import RunError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """One run of idle trials, which are over at once."""
    drive_inline(begin(tmp_path, tiny()), tiny(), idle=True)
    return Home(tmp_path)


@pytest.fixture
def another_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version whose Adam has another beta1 by default."""
    construct: Any = TrialConfig.__init__
    defaults = construct.__kwdefaults__
    monkeypatch.setitem(defaults, "optim", OptimConfig(beta1=0.8))


def another_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version in which equal configurations give other bits."""
    for module in (found_trials, runner):
        monkeypatch.setattr(module, "ARITHMETIC", records.ARITHMETIC + 1)


def test_the_trials_of_the_home_serve_equal_configurations(home: Home) -> None:
    assert len(found_trials.find(home, tiny())) == 9
    assert reproducing.lacking(home, tiny()) is None
    other = replace(tiny(), base=tiny().base.with_values({"beta1": 0.8}))
    assert found_trials.find(home, other) == []


@pytest.mark.usefixtures("home", "another_default")
def test_after_a_change_of_a_default_old_trials_are_not_served_as_new_ones(home: Home) -> None:
    assert TrialConfig().optim.beta1 == 0.8
    now = replace(tiny(), base=tiny().base.with_values({"beta1": 0.8}))
    assert found_trials.find(home, now) == []
    assert reproducing.lacking(home, now) == now
    before = replace(tiny(), base=tiny().base.with_values({"beta1": 0.9}))
    assert len(found_trials.find(home, before)) == 9, "they still are what they were"
    (run,) = home.runs()
    assert run.definition().base.optim.beta1 == 0.9
    assert {trial.config["optim"]["beta1"] for trial in run.story().trials.values()} == {0.9}


def test_trials_of_another_arithmetic_are_not_served_and_it_is_said(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(found_trials.left_out(home, ["demo"])) == []
    another_arithmetic(monkeypatch)
    assert found_trials.find(home, tiny()) == []
    assert reproducing.resumable(home, tiny()) is None
    ((run, why),) = found_trials.left_out(home, ["demo"])
    assert (run.name, why) == (
        home.runs()[0].name,
        "its arithmetic is of edition 2, and this version's of 3",
    )
    assert list(found_trials.left_out(home, ["figure3"])) == []


def stopped(home: Path, sweep_trials: int) -> RunFolder:
    run = begin(home, tiny(num_trials=9))
    drive_inline(run, tiny(num_trials=sweep_trials), idle=True)
    return run


def test_a_run_is_gone_on_with_by_the_arithmetic_it_began_with_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, over = stopped(tmp_path / "1", 2), stopped(tmp_path / "2", 9)
    unborn = begin(tmp_path / "3", tiny())
    another_arithmetic(monkeypatch)
    with pytest.raises(RunError) as error:
        drive_inline(run, tiny(), idle=True)
    assert str(error.value) == (
        f"All trials of a run have the same arithmetic, but {run.name} was begun with edition 2 and this version has "
        f"edition 3: equal configurations would give other bits. Its results stay: {run.command('export')}   "
        f"Begin a new run with: {pasting.in_home(tmp_path / '1', 'run', 'demo')}"
    )
    assert len(run.story().trials) == 2
    assert drive_inline(over, tiny(), idle=True).state == "finished", "nothing is left to train"
    assert over.arithmetic() == 2
    assert drive_inline(unborn, tiny(), idle=True).state == "finished"
    assert unborn.arithmetic() == 3


def test_a_run_that_cannot_be_read_is_left_out_and_named(home: Home) -> None:
    (run,) = home.runs()
    run.journal.write_bytes(run.journal.read_bytes().replace(b"complete", b"complete!", 1))
    assert found_trials.find(home, tiny()) == []
    ((found, why),) = found_trials.left_out(home, ["demo"])
    assert found.name == run.name
    assert f"of {run.journal} adds up to " in why
