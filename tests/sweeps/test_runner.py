"""What a sweep does without: packages that are not there, and a heatmap that cannot be drawn."""

import subprocess
import sys
from pathlib import Path

from tests.sweeps.driven import TINY, begin, drive_inline, settings, tiny

WITHOUT = ("ray", "mlflow", "pandas", "matplotlib", "torchvision", "scipy")


def test_inline_needs_no_ray_mlflow_pandas_or_matplotlib(tmp_path: Path) -> None:
    """As on a GPU machine that has torch, and a few small packages of pure Python beside it."""
    arguments = [
        "run",
        "demo",
        "--inline",
        "--home",
        str(tmp_path),
        *settings(TINY | {"num_trials": "2", "epochs": "1"}),
    ]
    code = f"import sys; sys.modules.update(dict.fromkeys({WITHOUT!r})); from sweeps.cli import main; main({arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 trials: 2 complete" in done.stdout
    assert "Delivery needs the package mlflow, which is not installed here." in done.stderr
    (run,) = tmp_path.glob("demo-*")
    assert (
        f"The heatmap needs pandas and matplotlib, not installed here. "
        f"Draw it later: sweep report {run.name} --home {tmp_path}\n"
    ) in done.stderr
    assert (run / "checkpoints" / "00001" / "lane.json").exists()


def test_a_space_that_is_no_plane_ends_without_a_heatmap_and_is_finished(tmp_path: Path) -> None:
    sweep = tiny(space="learning_rate", sampler="random", num_trials=2, epochs=1)
    outcome = drive_inline(begin(tmp_path, sweep), sweep)
    assert (outcome.state, outcome.report) == ("finished", [])


def test_a_plane_with_too_many_values_to_read_ends_without_a_heatmap_and_is_finished(
    tmp_path: Path,
) -> None:
    from dataclasses import replace

    from search_spaces import zoneout_plane

    whole = replace(
        tiny(epochs=1), space=zoneout_plane.space(None, None), sampler="random", num_trials=20
    )
    outcome = drive_inline(begin(tmp_path, whole), whole)
    assert (outcome.state, outcome.report) == ("finished", [])
