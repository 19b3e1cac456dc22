"""Who may import whom, and what the command line may load before it knows what it is asked for."""

import os
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

HEAVY = (
    "torch",
    "torchvision",
    "ray",
    "mlflow",
    "pandas",
    "optuna",
    "numpy",
    "matplotlib",
    "scipy",
)


def test_imports_follow_the_arrows(repo_root: Path) -> None:
    """The contracts stand in pyproject.toml, under [tool.importlinter]."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-cache"], cwd=repo_root, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_no_circle_hides_behind_what_only_types_need(repo_root: Path) -> None:
    """The linter is told to pass over imports under `if TYPE_CHECKING`; these packages have none of
    each other that go up."""
    graph = grimp.build_graph("zoneout_core", exclude_type_checking_imports=False, cache_dir=None)
    settings = tomllib.loads((repo_root / "pyproject.toml").read_text())
    (contract,) = [
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["name"] == "Rooms of the training core"
    ]
    floors = [set(re.split(r" [|:] ", layer)) for layer in contract["layers"]]
    assert {"cells", "regularizers"} in floors, "both lie on one floor, above config and masking"
    assert floors.index({"cells", "regularizers"}) < floors.index({"config"})
    assert floors.index({"config"}) < floors.index({"masking"})
    upward = graph.find_illegal_dependencies_for_layers(layers=floors, containers={"zoneout_core"})
    assert not upward, upward


def test_the_command_line_loads_nothing_heavy(repo_root: Path) -> None:
    code = f"import sys, sweeps.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


PARTS = ("zoneout_core.cells", "zoneout_core.regularizers")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["ls", "--runs"]])
def test_a_command_that_needs_no_part_imports_none(
    repo_root: Path, tmp_path: Path, arguments: list[str]
) -> None:
    code = f"""
import sys
from sweeps.cli import main
try:
    main({arguments!r})
except SystemExit:
    print([m for m in sys.modules if m.startswith({PARTS!r})])
"""
    environment = os.environ | {"ZONEOUT_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repo_root,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_help_is_instant(repo_root: Path) -> None:
    """Best of five, in processor time; the bound is what a person feels as a pause. A busy machine
    stretches processor time too, so Typer alone, which takes half as long, is measured beside it.
    """
    help_seconds = []
    typer_seconds = []
    for _ in range(5):
        seconds, output = _call(repo_root, "from sweeps.cli import main; main()")
        help_seconds.append(seconds)
        assert "Usage" in output
        seconds, _ = _call(repo_root, "import typer, rich.console")
        typer_seconds.append(seconds)
    limit = max(0.5, 3 * min(typer_seconds))
    assert min(help_seconds) < limit, f"sweep --help took {min(help_seconds):.2f} s at best"


def _call(repo_root: Path, code: str) -> tuple[float, str]:
    """Processor time and output of a Python of its own that runs this code with --help."""
    command = [sys.executable, "-c", code, "--help"]
    begin = _children_seconds()
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return _children_seconds() - begin, done.stdout


def _children_seconds() -> float:
    """Processor time of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
