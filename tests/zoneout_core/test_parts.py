"""Parts plug into a configuration: each has a section of its own, and a broken file hurts nobody
else."""

import pickle

import pytest

from search_spaces import Choice, Range
from tests.plugged_in import PlugIn
from zoneout_core.config import fields, parts
from zoneout_core.config.keys import full_key, keys, type_of
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError, PluginError, UnknownName
from zoneout_core.regularizers.zoneout import Zoneout
from zoneout_core.tasks import Corpus
from zoneout_core.training.pack import Pack

GELU = """
from dataclasses import dataclass
from typing import ClassVar, Literal

from zoneout_core.cells import Cell, State
from zoneout_core.config.fields import require


@dataclass(frozen=True, kw_only=True)
class Gelu(Cell):
    STATES: ClassVar[tuple[str, ...]] = ("h",)
    GATES: ClassVar[int] = 1
    FORGETS: ClassVar[bool] = False
    activation: Literal["gelu", "elu"] = "gelu"

    def check(self, trial):
        super().check(trial)
        require(trial.model.num_layers == 1, "model.num_layers", trial.model.num_layers, "1 here")

    def step(self, p, a_BG, state, sites, moment):
        return ((a_BG + state[0] @ p["u_HG"]).tanh(),)


PART = Gelu
"""
LOUD = """
from dataclasses import dataclass, field
from typing import ClassVar

from zoneout_core.regularizers import LANE, Mask, Regularizer, Surroundings, require


@dataclass(frozen=True, kw_only=True)
class Loud(Regularizer):
    EXAMPLES: ClassVar = ({"loud.z_cells": 0.5},)
    z_cells: float = field(default=0.0, metadata=LANE)

    @property
    def active(self):
        return self.z_cells > 0

    def check(self, trial: Surroundings) -> None:
        super().check(trial)
        require(trial.carry == "none", "carry", trial.carry, "none with loud masks")

    def program(self):
        key = "regularizer.loud.z_cells"
        return (
            Mask(
                site="keep_cells", key=key, strength=self.z_cells, probability=self.z_cells,
                expected=self.z_cells, stream="masks_loud",
            ),
        )


PART = Loud
"""


# Cells


def test_two_cells_may_have_settings_of_one_name(plug_in: PlugIn) -> None:
    plug_in("cells", "gelu", GELU)
    plain = TrialConfig().with_values({"cell": "rnn", "activation": "relu"})
    own = TrialConfig().with_values({"cell": "gelu", "cell.activation": "elu"})
    assert (plain.cell.activation, own.cell.activation) == ("relu", "elu")
    assert type(own.cell).__name__ == "Gelu"
    for config in (plain, own):
        assert TrialConfig.from_json(config.to_json()) == config
        assert TrialConfig.from_json(config.changed()) == config
        assert pickle.loads(pickle.dumps(config)) == config
    assert own.to_json()["cell"] == {"activation": "elu"}
    assert own.changed() == {"model.cell": "gelu", "cell.activation": "elu"}
    assert own.shape_key() != own.with_values({"activation": "gelu"}).shape_key()
    with pytest.raises(UnknownName, match=r"no value of cell.activation named 'relu'"):
        own.with_values({"activation": "relu"})


def test_a_cell_may_call_the_check_of_its_base(plug_in: PlugIn) -> None:
    plug_in("cells", "gelu", GELU)
    with pytest.raises(ConfigError, match=r"^model.num_layers must be 1 here, but is 2."):
        TrialConfig().with_values({"cell": "gelu", "num_layers": 2})
    with pytest.raises(ConfigError, match=r"^model.forget_constant must be 0 with model.cell=gelu"):
        TrialConfig().with_values({"cell": "gelu", "forget_constant": 1.0})


def test_spaces_read_a_value_as_any_cell_does_that_has_the_setting(plug_in: PlugIn) -> None:
    plug_in("cells", "gelu", GELU)
    assert Choice("activation", ("relu", "elu")).values == ("relu", "elu")
    with pytest.raises(UnknownName, match="no value of cell.activation named 'sine'"):
        Choice("activation", ("sine",))
    assert type_of("activation") is object
    with pytest.raises(ConfigError, match="A range needs a key whose values are numbers"):
        Range("activation", 0.0, 1.0)


def test_a_new_cell_begins_with_its_own_defaults() -> None:
    relu = TrialConfig().with_values({"cell": "rnn", "activation": "relu"})
    assert relu.with_values({"model.cell": "rnn"}) == relu
    gru = relu.with_values({"model.cell": "gru"})
    assert gru == TrialConfig().with_values({"model.cell": "gru"})
    assert gru.with_values({"model.cell": "rnn"}).cell.activation == "tanh"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"cell.activation": "relu"},
            "cell.activation is a setting of cell rnn, but model.cell is lstm. Set model.cell=rnn too, or leave cell.activation out.",
        ),
        (
            {"cell": "gru", "tau": 0.5},
            "cell.tau is a setting of cell surprisal_lstm, but model.cell is gru. Set model.cell=surprisal_lstm too, or leave cell.tau out.",
        ),
    ],
)
def test_a_setting_of_another_cell_is_refused(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        TrialConfig().with_values(values)
    assert str(error.value) == text
    with pytest.raises(ConfigError, match="is a setting of cell"):
        TrialConfig().value("cell.activation")


def test_all_cells_that_have_the_setting_are_named(plug_in: PlugIn) -> None:
    plug_in("cells", "gelu", GELU)
    with pytest.raises(ConfigError, match=r"is a setting of cell gelu and rnn, but model.cell is"):
        TrialConfig().with_values({"cell.activation": "relu"})


def test_settings_of_a_cell_belong_to_the_cell_that_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^cell must be a GRU with model.cell=gru, but is LSTM"):
        TrialConfig(
            model=TrialConfig().with_values({"cell": "gru"}).model, cell=parts.cell("lstm")()
        )


# Regularizers


def test_two_regularizers_may_have_settings_of_one_name(plug_in: PlugIn) -> None:
    plug_in("regularizers", "loud", LOUD)
    config = TrialConfig().with_values({"loud.z_cells": 0.5, "regularizer.zoneout.z_cells": 0.25})
    assert (config.regularizer.loud.z_cells, config.regularizer.zoneout.z_cells) == (0.5, 0.25)
    assert config.regularizer.part(Zoneout).z_cells == 0.25
    assert config.changed() == {
        "regularizer.loud.z_cells": 0.5,
        "regularizer.zoneout.z_cells": 0.25,
    }
    assert TrialConfig.from_json(config.to_json()) == config
    assert {mask.key for mask in config.regularizer.program()} == set(config.changed())
    assert full_key("loud.z_cells") == "regularizer.loud.z_cells"
    assert full_key("z_states") == "regularizer.zoneout.z_states"
    with pytest.raises(ConfigError) as error:
        TrialConfig().with_values({"z_cells": 0.5})
    assert str(error.value) == (
        "z_cells is the name of 2 settings: regularizer.loud.z_cells and regularizer.zoneout.z_cells. Write one of these instead."
    )
    with pytest.raises(ConfigError, match=r"^carry must be none with loud masks, but is 'zero'."):
        config.with_values({"carry": "zero"})


def test_names_that_every_configuration_has_go_first(plug_in: PlugIn) -> None:
    source = LOUD.replace("z_cells: float", "hidden_size: float").replace("self.z_cells", "0.0")
    plug_in("regularizers", "loud", source)
    assert full_key("hidden_size") == "model.hidden_size"
    assert full_key("loud.hidden_size") == "regularizer.loud.hidden_size"


def test_a_section_is_nested_and_what_was_flat_is_refused_in_a_sentence() -> None:
    config = TrialConfig().with_values({"zoneout.z_cells": 0.5})
    assert config.to_json()["regularizer"]["zoneout"] == {
        "z_cells": 0.5,
        "z_states": 0.0,
        "zoneout_mask": "separate",
        "z_spread": 0.0,
    }
    with pytest.raises(ConfigError) as error:
        TrialConfig.from_json({"regularizer": {"z_cells": 0.5}})
    assert str(error.value) == (
        "regularizer.z_cells is written as version 0.1 wrote it, but this version reads regularizer.PART.FIELD, such as regularizer.zoneout.z_cells: make the file again with this version."
    )
    for key, unknown in (
        ("zonout", "There is no regularizer named 'zonout'. Did you mean 'zoneout'?"),
        ("zoneout", "There is no setting of regularizer.zoneout named 'z_cell'."),
    ):
        with pytest.raises(UnknownName, match=unknown):
            TrialConfig.from_json({"regularizer": {key: {"z_cell": 0.5}}})


def test_a_section_is_frozen_and_compared_by_its_parts() -> None:
    section = TrialConfig().regularizer
    with pytest.raises(AttributeError, match="frozen"):
        section.zoneout = Zoneout(z_cells=0.5)
    with pytest.raises(AttributeError, match="zonout"):
        _ = section.zonout
    other = section.with_values({"zoneout": {"z_cells": "0.5"}})
    assert other != section
    assert other == type(section)(Zoneout(z_cells=0.5))
    assert hash(other) == hash(type(section)(Zoneout(z_cells=0.5)))
    assert repr(other).startswith("RegularizerConfig(Zoneout(z_cells=0.5,")
    assert type(section["weight_noise"]) is parts.regularizer("weight_noise")


# Files that are broken

HEAD = """from dataclasses import dataclass, field
from typing import ClassVar, Literal

from zoneout_core.regularizers import Regularizer
"""
CLASS = (
    HEAD
    + """
@dataclass(frozen=True, kw_only=True)
class Mine(Regularizer):
    EXAMPLES: ClassVar = ()
    {field}

    @property
    def active(self):
        return False

PART = Mine
"""
)
BROKEN = {
    "no part": (HEAD, "it must define PART, the class of its settings, but has none."),
    "no class": (HEAD + "PART = 3\n", "but is 3."),
    "another class": (
        HEAD + "PART = int\n",
        "PART must be a class derived from zoneout_core.regularizers.Regularizer",
    ),
    "not decorated": (
        HEAD + "class Mine(Regularizer):\n    active = False\nPART = Mine\n",
        "PART must be a frozen dataclass, but Mine is not. Write @dataclass(frozen=True, kw_only=True) above it.",
    ),
    "abstract": (
        HEAD
        + "@dataclass(frozen=True, kw_only=True)\nclass Mine(Regularizer):\n    z: float = 0.0\nPART = Mine\n",
        "Mine must define active, but does not.",
    ),
    "no default": (
        CLASS.format(field="z_mine: float"),
        "every setting needs a default, but z_mine has none.",
    ),
    "no type": (
        CLASS.format(field="z_mine = 0.0"),
        "every setting needs a type, but z_mine has none. Write z_mine: float = 0.0,",
    ),
    "a type of another kind": (
        CLASS.format(field="z_mine: list = field(default=None)"),
        "a setting is bool, int, float, str or a Literal of words, but z_mine is list.",
    ),
    "an unknown type": (
        CLASS.format(field='z_mine: "Probability" = 0.0'),
        "the types of its settings cannot be read: name 'Probability' is not defined.",
    ),
    "a default of another type": (
        CLASS.format(field="z_mine: float = None"),
        "the default of z_mine, None, is not of its type.",
    ),
    "the name of a method": (
        CLASS.format(field="program: float = 0.0"),
        "program is not allowed as the name of a setting",
    ),
    "a private name": (
        CLASS.format(field="_z: float = 0.0"),
        "_z is not allowed as the name of a setting",
    ),
    "syntax": (HEAD + "def\n", "cannot be imported: SyntaxError: invalid syntax"),
    "an exception": (HEAD + "1 / 0\n", "cannot be imported: ZeroDivisionError: division by zero"),
    "an exit": (HEAD + "raise SystemExit(3)\n", "cannot be imported: SystemExit: 3"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_to_whoever_needs_it_and_hurts_nobody_else(
    plug_in: PlugIn, case: str, tiny_corpus: Corpus
) -> None:
    source, text = BROKEN[case]
    file = plug_in("regularizers", "mine", source)
    config = TrialConfig().with_values({"z_cells": 0.5})
    assert TrialConfig.from_json(config.to_json()) == config
    assert not [key for key in keys() if "mine" in key]
    (error,) = parts.broken_regularizers()
    assert text in str(error)
    assert str(file) in str(error)
    assert str(error).endswith(".")
    for values in ({"mine.z_mine": 0.5}, {"regularizer.mine.z_mine": 0.5}):
        with pytest.raises(PluginError) as named:
            config.with_values(values)
        assert str(named.value) == str(error)
    with pytest.raises(PluginError):
        TrialConfig.from_json({"regularizer": {"mine": {"z_mine": 0.5}}})
    with pytest.raises(PluginError):
        Pack(config, tiny_corpus, capacity=1)


def test_a_broken_cell_hurts_only_who_chooses_it(plug_in: PlugIn, tiny_corpus: Corpus) -> None:
    file = plug_in("cells", "mine", "PART = 3\n")
    config = TrialConfig().with_values({"hidden_size": 4, "batch_size": 4, "sequence_length": 9})
    Pack(config, tiny_corpus, capacity=1)
    with pytest.raises(PluginError) as error:
        TrialConfig().with_values({"cell": "mine"})
    assert str(error.value) == (
        f"{file} is no cell: PART must be a class derived from zoneout_core.cells.Cell, but is 3. Derive it from there."
    )


def test_reading_a_section_does_not_resolve_its_types_again() -> None:
    plain = TrialConfig().to_json()
    TrialConfig.from_json(plain)
    before = fields.hints.cache_info().misses
    TrialConfig.from_json(plain)
    assert fields.hints.cache_info().misses == before
