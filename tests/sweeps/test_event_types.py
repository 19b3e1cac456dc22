"""What the type checker sees of the journal's events: a misspelled field is an error, at its line.

The producer and the consumer are copies of real modules with one word changed. mypy uses the cache
of `make lint`, and without one this takes a minute or two.
"""

import subprocess
import sys
from pathlib import Path

import pytest

PATCHES = {
    "producer": (
        "sweeps/serving/lane_server.py",
        "EndEvent(trial=trial, state=state, reason=reason, epoch=epoch)",
        "EndEvent(trial=trial, state=state, raeson=reason, epoch=epoch)",
        'Unexpected keyword argument "raeson" for "EndEvent"',
    ),
    "producer_type": (
        "sweeps/serving/lane_server.py",
        "EndEvent(trial=trial, state=state, reason=reason, epoch=epoch)",
        "EndEvent(trial=trial, state=state, reason=reason, epoch=str(epoch))",
        'Argument "epoch" to "EndEvent" has incompatible type "str"; expected "int"',
    ),
    "consumer": (
        "sweeps/books/story.py",
        "trial.state, trial.reason = event.state, event.reason",
        "trial.state, trial.reason = event.state, event.raeson",
        '"EndEvent" has no attribute "raeson"',
    ),
}


@pytest.fixture(scope="module")
def said(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What mypy says of all patched copies."""
    folder = tmp_path_factory.mktemp("patched")
    for name, (file, sound, patched, _) in PATCHES.items():
        text = (repo_root / file).read_text()
        assert text.count(sound) == 1, f"{sound} in {file}"
        (folder / f"patched_{name}.py").write_text(text.replace(sound, patched))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *sorted(folder.glob("*.py"))],
        cwd=repo_root,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", PATCHES)
def test_a_misspelled_field_of_an_event_is_a_type_error(
    repo_root: Path, said: list[str], name: str
) -> None:
    file, sound, _, error = PATCHES[name]
    before, _, _ = (repo_root / file).read_text().partition(sound)
    line = before.count("\n") + 1
    assert [text for text in said if f"patched_{name}.py:{line}: error: {error}" in text]


def test_the_copies_have_no_other_error(said: list[str]) -> None:
    assert len([text for text in said if ": error: " in text]) == len(PATCHES), "\n".join(said)
