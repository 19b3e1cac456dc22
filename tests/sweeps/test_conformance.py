"""The conformance suite as a user runs it, on a folder of plug-ins."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def conform(folder: Path, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "sweeps.conformance", "--plugins", str(folder), "-q", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTEST_ADDOPTS": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_the_examples_conform_and_nothing_else_is_tested(repo_root: Path, tmp_path: Path) -> None:
    done = conform(repo_root / "tests/plugins", "-vv", cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:]
    for name in ("[leaky_rnn", "[recall_dropout", "[ring_walk", "[recall]", "[leaky_plane"):
        assert name in done.stdout
    for name in ("[lstm", "[zoneout", "[char_pydoc", "skipped"):
        assert name not in done.stdout
    assert "plug-ins: cells/leaky_rnn.py, regularizers/recall_dropout.py" in done.stdout


BROKEN = [
    (
        "cells/leaky_rnn.py",
        "new_BH = a_BH.tanh()",
        "new_BH = a_BH.tanh().detach()",
        "gradients_are_derivatives",
        "Autograd's gradients are the derivatives of the states",
    ),
    (
        "regularizers/recall_dropout.py",
        'shared=frozenset({"unit"})',
        'shared=frozenset({"unit"}), scale=2.0',
        "what_stands_for_it",
        "The mean of a drawn mask, scale included, is `expected`",
    ),
    (
        "tasks/ring_walk.py",
        "default_rng(0)",
        "default_rng()",
        "loads_from_nothing",
        "gives the same data each time",
    ),
    (
        "sweeps/leaky_plane.py",
        'name="leaky_plane"',
        'name="leaking_plane"',
        "named_after_its_file",
        "returns a Sweep whose name is the file's",
    ),
]


@pytest.mark.parametrize(
    ("file", "sound", "broken", "test", "rule"), BROKEN, ids=[case[0] for case in BROKEN]
)
def test_a_broken_plugin_fails_with_the_rule_that_it_breaks(
    repo_root: Path, tmp_path: Path, file: str, sound: str, broken: str, test: str, rule: str
) -> None:
    folder = Path(shutil.copytree(repo_root / "tests/plugins", tmp_path / "plugins"))
    text = (folder / file).read_text()
    assert sound in text
    (folder / file).write_text(text.replace(sound, broken))
    done = conform(folder, "-k", test, cwd=tmp_path)
    assert done.returncode == 1, done.stdout[-4000:]
    _, _, told = done.stdout.partition("The rule")
    assert rule in " ".join(told.split())
    assert "failed" in done.stdout


def test_a_folder_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    done = conform(tmp_path / "not there", cwd=tmp_path)
    assert done.returncode == 4
    assert f"must be a folder, but {tmp_path}/not there is none." in done.stderr
