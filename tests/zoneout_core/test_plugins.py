"""Names from installed packages and from a folder of plug-ins: where they come from, and what is
refused."""

import inspect
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zoneout_core import cells, tasks
from zoneout_core.config import registry
from zoneout_core.config.keys import keys
from zoneout_core.config.plugins import FOLDERS, Plugins
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import PluginError, UnknownName

LAYOUT = (
    "It has the folders cells, regularizers, tasks, workloads, spaces or sweeps, with a file NAME.py for each plug-in; "
    "see docs/plugins.md."
)


@pytest.fixture
def examples(repo_root: Path) -> Plugins:
    return Plugins.read(repo_root / "tests/plugins")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; nothing of it is in use afterwards."""
    made = tmp_path / "plugins"
    made.mkdir()
    with registry.using(Plugins()):
        yield made


def put(folder: Path, name: str, text: str = "") -> None:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


# The folder


def test_every_folder_adds_its_names_while_the_plugins_are_in_use(examples: Plugins) -> None:
    before, settings = TrialConfig(), keys()
    with registry.using(examples):
        assert [name for package in registry.KINDS for name in registry.plugged(package)] == [
            "leaky_rnn",
            "recall_dropout",
            "ring_walk",
            "warm_language",
            "recall",
            "leaky_plane",
        ]
        config = TrialConfig().with_values({"cell": "leaky_rnn", "p_recall": 0.5})
        assert TrialConfig.from_json(config.to_json()) == config
        assert pickle.loads(pickle.dumps(config)) == config
        assert tasks.get("ring_walk").load(Path(), "fast").vocabulary == tuple("abcdefghijkl")
    assert "leaky_rnn" not in cells.names()
    assert (TrialConfig(), keys()) == (before, settings)
    with pytest.raises(UnknownName):
        TrialConfig().with_values({"p_recall": 0.5})


def test_what_is_imported_was_read_before_and_has_a_file_and_a_source(folder: Path) -> None:
    put(folder, "tasks/walk.py", "from ..cells import _shared\nVALUE = _shared.VALUE\n")
    put(folder, "cells/_shared.py", "VALUE = 1\n")
    plugins = Plugins.read(folder)
    put(folder, "cells/_shared.py", "VALUE = 2\n")
    with registry.using(plugins):
        module = registry.load("zoneout_core.tasks", "walk", "task")
    assert module.VALUE == 1
    assert module.__file__ == str(folder / "tasks/walk.py")
    assert inspect.getsource(module).startswith("from ..cells import _shared")
    with registry.using(Plugins.read(folder)):
        assert registry.load("zoneout_core.tasks", "walk", "task").VALUE == 2
    assert not list(folder.rglob("__pycache__"))


def test_the_hash_is_of_names_and_bytes_wherever_they_are(
    examples: Plugins, tmp_path: Path
) -> None:
    examples.write(tmp_path / "copy")
    copy = Plugins.read(tmp_path / "copy")
    assert (copy, copy.sha256) == (examples, examples.sha256)
    assert pickle.loads(pickle.dumps(examples)) == examples
    (tmp_path / "copy/README").write_text("is no plug-in")
    assert Plugins.read(tmp_path / "copy") == examples
    (tmp_path / "copy/cells/leaky_rnn.py").rename(tmp_path / "copy/cells/leaking_rnn.py")
    assert Plugins.read(tmp_path / "copy").sha256 != examples.sha256


def test_an_edited_sweep_makes_no_other_cell(folder: Path) -> None:
    def hashes() -> list[str]:
        with registry.using(Plugins.read(folder)):
            return [registry.digests()[name] for name in ("cells/mine", "sweeps/mine")]

    put(folder, "cells/mine.py", "PART = None")
    put(folder, "sweeps/mine.py")
    cell, sweep = hashes()
    put(folder, "sweeps/mine.py", "# another text")
    assert hashes()[0] == cell
    assert hashes()[1] != sweep
    put(folder, "cells/_helper.py")
    assert hashes()[0] != cell


def test_only_plugins_that_a_trial_uses_are_said_to_decide_its_numbers(examples: Plugins) -> None:
    with registry.using(examples):
        assert tasks.plugins_of(TrialConfig()) == {}
        config = tasks.get("ring_walk").config(cell="leaky_rnn", p_recall=0.5)
        assert tasks.plugins_of(config) == dict.fromkeys(
            [
                "tasks/ring_walk",
                "workloads/warm_language",
                "cells/leaky_rnn",
                "regularizers/recall_dropout",
            ],
            examples.decisive_sha256,
        )


def test_a_plugin_that_is_off_changes_no_trial(examples: Plugins) -> None:
    plain = TrialConfig()
    written, shape = plain.to_json(), plain.shape_key()
    with registry.using(examples):
        config = TrialConfig()
        assert (config.to_json(), config.shape_key()) == (written, shape)
        assert config.value("p_recall") == 0.0
        on = config.with_values({"p_recall": 0.5})
        assert on.to_json()["regularizer"]["recall_dropout"] == {"p_recall": 0.5}


def test_the_environment_names_a_folder_until_others_are_used(
    repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZONEOUT_PLUGINS", str(repo_root / "tests/plugins"))
    with registry.using(None):
        assert "leaky_rnn" in cells.names()
        registry.use(Plugins())
        assert "leaky_rnn" not in cells.names()


# What is refused


def test_a_name_that_is_there_twice_is_refused_with_both_files(folder: Path) -> None:
    put(folder, "cells/lstm.py", "PART = None")
    with registry.using(Plugins.read(folder)), pytest.raises(PluginError) as error:
        cells.names()
    assert str(error.value) == (
        f"A name stands for one file, but 'lstm' of cells is in {cells.__path__[0]}/lstm.py and in {folder}/cells/lstm.py. "
        "Rename one of them."
    )


def test_a_folder_that_is_none_or_has_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(PluginError) as error:
        Plugins.read(folder / "not there")
    assert str(error.value) == (
        f"--plugins (or $ZONEOUT_PLUGINS) must be a folder, but {folder}/not there is none. {LAYOUT}"
    )
    put(folder, "cell/mine.py")
    with pytest.raises(PluginError) as error:
        Plugins.read(folder)
    assert (
        str(error.value)
        == f"A folder of plug-ins has at least one file, but {folder} has none. {LAYOUT}"
    )
    assert set(registry.KINDS.values()) == set(FOLDERS)


# Installed packages


@pytest.fixture
def installed(tmp_path: Path, repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution with one cell, as pip installs it."""
    package = tmp_path / "their_cells"
    package.mkdir()
    (package / "__init__.py").touch()
    source = (repo_root / "tests/plugins/cells/leaky_rnn.py").read_text()
    (package / "theirs.py").write_text(source)
    info = tmp_path / "their_cells-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-cells\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[zoneout.cells]\ntheirs = their_cells.theirs\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry.look_again()
    yield package
    monkeypatch.undo()
    registry.look_again()
    for name in [name for name in sys.modules if name.startswith("their_cells")]:
        del sys.modules[name]


def test_an_installed_package_adds_names_by_entry_points(installed: Path, folder: Path) -> None:
    assert "theirs" in cells.names()
    module = registry.load("zoneout_core.cells", "theirs", "cell")
    assert (module.__name__, module.PART.__name__) == ("their_cells.theirs", "LeakyRNN")
    hashes = registry.digests()
    assert list(hashes) == ["cells/theirs"]
    (installed / "theirs.py").write_text("# another version")
    registry.look_again()
    assert registry.digests() != hashes
    put(folder, "cells/theirs.py")
    with registry.using(Plugins.read(folder)), pytest.raises(PluginError) as error:
        cells.names()
    assert str(error.value) == (
        "A name stands for one file, but 'theirs' of cells is in module their_cells.theirs of their-cells 1.2 and in "
        f"{folder}/cells/theirs.py. Rename one of them."
    )
