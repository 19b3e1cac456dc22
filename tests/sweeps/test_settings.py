"""Every setting explains itself: to the user, in docs/settings.md, and for a part of a user's own."""

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from sweeps import settings
from sweeps.cli.settings_page import COMMAND, page
from sweeps.definition import RESUMABLE, SETTABLE, Sweep
from sweeps.settings import Setting
from tests.sweeps.commands import sweep
from zoneout_core.config import parts
from zoneout_core.config.keys import keys, lane_keys
from zoneout_core.config.setting_texts import field_texts, fields_without_text, file_summary
from zoneout_core.config.trial import CORE
from zoneout_core.errors import UnknownName

OWNERS = (
    Sweep,
    *CORE.values(),
    *parts.cells().values(),
    *parts.regularizers().values(),
)


def only(word: str) -> Setting:
    """The one setting that `word` names."""
    (setting,) = settings.find(word)
    return setting


def test_every_setting_is_gathered() -> None:
    assert {setting.key for setting in settings.settings()} == {*SETTABLE, *keys()}


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.__name__)
def test_every_field_has_a_text(owner: type) -> None:
    lacking = fields_without_text(owner)
    assert not lacking, f"write a text in quotes under {', '.join(lacking)} of {owner.__name__}"


@pytest.mark.parametrize("setting", settings.settings(), ids=lambda setting: setting.key)
def test_a_text_is_whole_sentences(setting: Setting) -> None:
    text = setting.text
    assert text[0].isupper() or text[0] == "`", text
    assert text.endswith("."), text
    assert "  " not in text


def test_the_page_of_all_settings_is_up_to_date(repo_root: Path) -> None:
    written = (repo_root / "docs" / "settings.md").read_text()
    assert written == page(), f"write it again with: {COMMAND}"
    assert sweep("explain", "--markdown").out == written


def test_a_setting_says_what_its_class_says() -> None:
    z_cells = only("z_cells")
    assert z_cells is only("regularizer.zoneout.z_cells")
    assert (z_cells.group, z_cells.part, z_cells.default) == ("regularizer", "zoneout", 0.0)
    assert z_cells.values == "a probability from 0 to 1"
    assert z_cells.sections == ("9.1",)
    assert only("clip_norm").values == "a number above 0 (inf never clips)"
    assert only("batch_size").values == "a whole number of at least 1"
    assert only("forget_bias").values == "a number"
    assert only("gaussian_masks").values == "true, false"
    assert only("seeds").values == "whole numbers, separated by commas"
    assert only("optim.optimizer").words == ("adam", "rmsprop", "sgd")
    assert "lstm" in only("model.cell").words
    assert "zoneout_plane" in only("space").words
    assert only("space").default is None
    assert {setting.key for setting in settings.settings() if setting.per_lane} == lane_keys()
    assert {s.key for s in settings.settings() if s.resumable} == set(RESUMABLE)


@pytest.mark.parametrize(
    ("word", "first"),
    [
        ("optim", "optim.optimizer"),
        ("sweep", "space"),
        ("trial", "label"),
        ("zoneout", "regularizer.zoneout.z_cells"),
        ("regularizer.zoneout", "regularizer.zoneout.z_cells"),
        ("bn_lstm", "cell.population_rate"),
    ],
)
def test_a_section_and_a_part_name_their_settings(word: str, first: str) -> None:
    assert settings.find(word)[0].key == first
    assert len(settings.find(word)) > 1


def test_an_unknown_word_names_the_closest_and_where_all_are() -> None:
    with pytest.raises(UnknownName) as error:
        settings.find("learning_rat")
    assert str(error.value) == (
        "There is no setting named 'learning_rat'. Did you mean 'learning_rate'? List all with: sweep explain"
    )


OWN_PART = '''"""A regularizer of my own: it shakes the weights.

More about it.
"""

from dataclasses import dataclass, field

from zoneout_core.regularizers import LANE, Regularizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Shaking(Regularizer):
    """Shakes."""

    strength: float = field(default=0.0, metadata=LANE)
    """How strongly it shakes the weights; 0 switches
    it off."""
    forgotten: int = 3

    @property
    def active(self) -> bool:
        return self.strength > 0
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file that a user wrote somewhere, imported."""
    path = tmp_path / "shaking.py"
    path.write_text(OWN_PART)
    spec = importlib.util.spec_from_file_location("my_shaking", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "my_shaking", module)
    spec.loader.exec_module(module)
    return module


def test_a_part_of_a_users_own_is_read_where_it_lies(own: ModuleType) -> None:
    assert field_texts(own.Shaking) == {
        "strength": "How strongly it shakes the weights; 0 switches it off.",
        "forgotten": "",
    }
    assert fields_without_text(own.Shaking) == ["forgotten"]
    assert file_summary(own.Shaking) == "A regularizer of my own: it shakes the weights."


def test_a_class_without_source_has_no_texts_and_no_error() -> None:
    scope: dict[str, type] = {}
    exec(
        "import dataclasses\n@dataclasses.dataclass\nclass Typed:\n    x: int = 0\n    'Lost.'",
        scope,
    )
    assert field_texts(scope["Typed"]) == {"x": ""}


@dataclass(frozen=True)
class Above:
    """Has a field."""

    x: int = 0
    """From above."""


@dataclass(frozen=True)
class Below(Above):
    """Inherits it."""

    y: int = 0
    """From below."""


def test_inherited_fields_keep_their_texts() -> None:
    assert field_texts(Below) == {"x": "From above.", "y": "From below."}


# On the command line


def test_explain_says_all_there_is_to_know_of_a_key() -> None:
    done = sweep("explain", "z_states")
    assert done.code == 0
    assert done.lines == [
        "regularizer.zoneout.z_states",
        "  Probability that a hidden state keeps its old value at a step (z_h in the",
        "  paper, its best 0.05 for characters). 0 switches it off; 1 freezes the states",
        "  (spec section 9.1).",
        "",
        "  values       a probability from 0 to 1",
        "  default      0.0",
        "  belongs to   each trial; lanes of one pack may differ in it",
        "  declared by  regularizer zoneout",
        "  resume       a run keeps the value it began with",
        "  defined in   docs/spec.md, section 9.1",
    ]
    assert "may change it" in sweep("explain", "lanes").out
    assert "lanes of one pack share it" in sweep("explain", "num_layers").out


def test_explain_takes_several_words_and_tells_none_twice() -> None:
    done = sweep("explain", "optim", "learning_rate", "zoneout")
    assert done.out.count("optim.learning_rate = 0.002  [a number above 0]") == 1
    assert "regularizer.zoneout.z_cells = 0.0  [a probability from 0 to 1]" in done.out
    keys = [s["key"] for s in json.loads(sweep("explain", "lanes", "lanes", "--json").out)]
    assert keys == ["lanes"]


def test_explain_shows_the_parts_of_a_users_own(repo_root: Path) -> None:
    done = sweep("--plugins", repo_root / "tests" / "plugins", "explain", "activation")
    assert done.code == 0
    assert "cell.leaky_rnn: A leaky recurrent network" in done.out
    assert "  cell.activation = tanh  [tanh, softsign]" in done.lines
    assert "cell.rnn: The plain recurrent network" in done.out


def test_explain_alone_lists_all_in_groups() -> None:
    done = sweep("explain")
    for setting in settings.settings():
        assert f"\n  {setting.key} = " in done.out
    assert max(map(len, done.lines)) <= 80
    assert done.lines[-1] == "Explain some of them in full with: sweep explain KEY"


def test_explain_as_json_has_every_field_for_scripts() -> None:
    listed = json.loads(sweep("explain", "--json").out)
    assert [one["key"] for one in listed] == [setting.key for setting in settings.settings()]
    (grace,) = json.loads(sweep("explain", "learning_rate", "--json").out)
    assert grace == {
        "key": "optim.learning_rate",
        "group": "optim",
        "part": "",
        "text": only("learning_rate").text,
        "type": "a number",
        "words": [],
        "rule": "above 0",
        "default": 0.002,
        "belongs_to": "trial",
        "lanes_may_differ": True,
        "resume_may_change": False,
        "spec_sections": ["2.3"],
    }


def test_the_page_takes_no_keys() -> None:
    done = sweep("explain", "z_cells", "--markdown")
    assert (done.code, done.out) == (2, "")
    assert "takes neither a KEY nor --json" in done.err


def test_show_explains_what_is_not_usual() -> None:
    done = sweep("show", "demo", "--explain")
    assert max(map(len, done.lines)) <= 80
    lines = done.lines
    place = lines.index("  optim.learning_rate  0.004")
    assert lines[place + 1].startswith("      Step size of the optimizer.")
    assert "  regularizer.zoneout.z_cells  0.0, 0.25, 0.5" in lines
    assert "  lanes  9" in lines
    assert not any(line.startswith("  sampler ") for line in lines), "it has its default"


def test_show_explains_settings_that_stand_within_a_row() -> None:
    lines = sweep("show", "table1_char", "--explain").lines
    assert lines.index("Within the rows:") < lines.index("  regularizer.stochastic_depth.z_depth")
