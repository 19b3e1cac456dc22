"""What cannot train here is refused before a run has a folder."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from sweeps import preflight
from tests.sweeps.commands import sweep
from tests.sweeps.driven import begin, drive_inline, settings, tiny
from zoneout_core.tasks import load_data


class Usage(NamedTuple):
    """What `shutil.disk_usage` says."""

    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--set", "device=cuda"],
            "device=cuda needs a CUDA device, but torch finds none on this machine.",
        ),
        (
            ["--set", "storage=nonsense://x"],
            "storage must be an Optuna storage URL that can be opened, but ",
        ),
        (
            ["--set", "storage=sqlite:////no/such/folder/x.db"],
            "storage must be an Optuna storage URL that can be opened",
        ),
        (
            ["--tracking", "htp://127.0.0.1:5000"],
            "--tracking must be a URI that MLflow knows (http, https, sqlite, ",
        ),
        (
            ["--tracking", "localhost:5000"],
            "--tracking must be a URI that MLflow knows (http, https, sqlite, ",
        ),
    ],
)
def test_it_is_refused_and_nothing_is_left(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    home = tmp_path / "home"
    done = sweep("run", "demo", *settings(), "--inline", *arguments, "--home", home)
    assert done.code == 2
    assert done.err.startswith(f"error: {message}")
    assert not home.exists()


def test_of_a_cluster_the_nodes_know_their_devices(tmp_path: Path) -> None:
    from sweeps.books.run_folder import Home
    from sweeps.runner import DriveOptions

    preflight.check(
        Home(tmp_path), tiny(device="cuda"), DriveOptions(data=tmp_path, address="10.0.0.1:6379")
    )


def test_a_disk_that_is_clearly_too_small_is_told_with_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**9, 10**9 - 50_000, 50_000))
    home = tmp_path / "a" / "home"
    done = sweep("run", "demo", "--inline", "--home", home)
    assert done.code == 2
    assert done.err.startswith("error: The checkpoints of 9 trials need about ")
    assert (
        f"in {home}, but its disk has 0.1 MB free. Make room, choose another folder with --home DIR"
        in done.err
    )
    assert not home.exists()


def test_the_estimate_is_near_what_a_trial_leaves(tmp_path: Path) -> None:
    one = tiny(hidden_size=64, num_trials=1, epochs=1)
    run = begin(tmp_path, one)
    drive_inline(run, one)
    (written,) = run.checkpoint(0).glob("*.safetensors")
    data = load_data(one.base.task, one.base.variant, tmp_path)
    assert preflight.checkpoint_bytes(one.base, data) == pytest.approx(
        written.stat().st_size, rel=0.1
    )


def test_deliver_and_resume_refuse_a_scheme_too(finished: object, tmp_path: Path) -> None:
    for verb in ("deliver", "resume"):
        done = sweep(verb, "latest", "--tracking", "htp://x", "--home", tmp_path)
        assert (done.code, done.err.startswith("error: ")) == (2, True)
