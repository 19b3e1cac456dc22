"""Who may import whom, and what the command line may load before it knows what it is asked for."""

import resource
import subprocess
import sys
from pathlib import Path

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


def test_the_command_line_loads_nothing_heavy(repo_root: Path) -> None:
    code = f"import sys, sweeps.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_help_is_instant(repo_root: Path) -> None:
    """Best of five, in processor time, because the machine may be busy; the bound is what a person
    feels as a pause."""
    command = [sys.executable, "-c", "from sweeps.cli import main; main()", "--help"]
    seconds = []
    for _ in range(5):
        begin = _children_seconds()
        done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, timeout=60)
        seconds.append(_children_seconds() - begin)
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout
    assert min(seconds) < 0.5, f"sweep --help took {min(seconds):.2f} s at best"


def _children_seconds() -> float:
    """Processor time of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
