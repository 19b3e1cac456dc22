"""Configurations, the registry of names, and the errors a user meets."""

import json
import pickle
import subprocess
import sys
from math import inf, nan
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

from zoneout_core.config import fields as config_fields
from zoneout_core.config import part_keys, registry
from zoneout_core.config.keys import keys, lane_keys, owners_of, type_of
from zoneout_core.config.trial import (
    ModelConfig,
    OptimConfig,
    TrialConfig,
    coerce,
    locate,
)
from zoneout_core.errors import ConfigError, UnknownName
from zoneout_core.records import EpochRecord, TrialState


def test_defaults_are_the_papers() -> None:
    config = TrialConfig()
    assert (config.task, config.batch_size, config.sequence_length, config.patience) == (
        "char_ptb",
        32,
        100,
        25,
    )
    assert (
        config.model.hidden_size,
        config.model.init,
        config.model.init_state,
        config.model.forget_bias,
    ) == (
        1000,
        "blocks",
        "trainable",
        1.0,
    )
    assert (config.optim.learning_rate, config.optim.clip, config.optim.clip_norm) == (
        0.002,
        "gradient",
        1.0,
    )
    assert (config.regularizer.zoneout.z_cells, config.regularizer.zoneout.z_states) == (0.0, 0.0)


def test_json_round_trips_and_is_plain() -> None:
    config = TrialConfig().with_values({"clip_norm": "inf", "z_cells": 0.5, "task": "char_pydoc"})
    text = json.dumps(config.to_json(), allow_nan=False)
    assert TrialConfig.from_json(json.loads(text)) == config
    assert config.optim.clip_norm == float("inf")


def test_what_was_changed_is_short_plain_and_all_there_is_to_know() -> None:
    config = TrialConfig().with_values(
        {"clip_norm": "inf", "z_cells": 0.5, "label": "zoneout", "num_layers": 2, "batch_size": 32}
    )
    changed = json.loads(json.dumps(config.changed(), allow_nan=False))
    assert changed == {
        "label": "zoneout",
        "model.num_layers": 2,
        "regularizer.zoneout.z_cells": 0.5,
        "optim.clip_norm": "inf",
    }
    assert TrialConfig.from_json(changed) == config
    assert TrialConfig().changed() == {}


def test_keys_may_be_full_or_short_and_values_may_be_texts() -> None:
    assert TrialConfig().with_values({"hidden_size": "64"}) == TrialConfig().with_values(
        {"model.hidden_size": 64}
    )
    assert (
        TrialConfig().with_values({"optim.learning_rate": "1e-3"}).value("learning_rate") == 0.001
    )
    assert TrialConfig().flat()["model.hidden_size"] == 1000
    assert locate("z_cells") == ("regularizer.zoneout", "z_cells")
    assert locate("batch_size") == ("", "batch_size")


NAMES = {"task": "char_pydoc", "variant": "442k", "label": "zoneout", "model.cell": "gru"}
NEEDED: dict[str, dict[str, object]] = {
    "regularizer.surprisal.surprisal_masks": {"cell": "surprisal_lstm"},
    "regularizer.variational.p_sequence_words": {"embedding_size": 4},
    "regularizer.variational.p_sequence_inputs": {"embedding_size": 4},
}
"""What a setting cannot be changed without."""


def with_and_without(key: str) -> tuple[TrialConfig, TrialConfig]:
    """Two configurations that differ in this key alone."""
    section, name = locate(key)
    cell = {"cell": part_keys.cells_with(name)[0]} if section == "cell" else {}
    base = TrialConfig().with_values(cell | NEEDED.get(key, {}))
    (owner,) = owners_of(key)
    hint, value = get_type_hints(owner)[name], base.value(key)
    if get_origin(hint) is Literal:
        return base, base.with_values(
            {key: next(other for other in get_args(hint) if other != value)}
        )
    other = {bool: value is False, str: NAMES.get(key), int: 7, float: 0.3}[hint]
    return base, base.with_values({key: other})


@pytest.mark.parametrize("key", keys())
def test_lanes_share_all_but_what_is_marked(key: str) -> None:
    base, changed = with_and_without(key)
    assert changed != base
    assert (changed.shape_key() == base.shape_key()) == (key in lane_keys())


def test_a_shape_key_can_be_read() -> None:
    assert TrialConfig().shape_key().startswith("char_ptb-lstm1000-b32-l100-float32-")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"z_cells": 1.5},
            "regularizer.zoneout.z_cells must be a probability from 0 to 1, but is 1.5.",
        ),
        (
            {"z_states": "-0.1"},
            "regularizer.zoneout.z_states must be a probability from 0 to 1, but is -0.1.",
        ),
        (
            {"z_cells": "nan"},
            "regularizer.zoneout.z_cells must be a probability from 0 to 1, but is nan.",
        ),
        ({"hidden_size": 0}, "model.hidden_size must be at least 1, but is 0."),
        (
            {"sequence_length": 1},
            "sequence_length must be at least 2 (one input and one target), but is 1.",
        ),
        ({"learning_rate": 0}, "optim.learning_rate must be above 0, but is 0.0."),
        ({"beta2": 1}, "optim.beta2 must be at least 0 and below 1, but is 1.0."),
        ({"train_fraction": 1.1}, "train_fraction must be above 0 and at most 1, but is 1.1."),
        ({"hidden_size": "12.5"}, "model.hidden_size must be a whole number, but is '12.5'."),
        ({"hidden_size": "many"}, "model.hidden_size must be a whole number, but is 'many'."),
        ({"epochs": True}, "epochs must be a whole number, but is True."),
        ({"learning_rate": "fast"}, "optim.learning_rate must be a number, but is 'fast'."),
    ],
)
def test_an_error_states_rule_value_and_next_step(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        TrialConfig().with_values(values)
    key = text.split()[0]
    assert str(error.value) == f"{text} Set it with --set {key}=VALUE."


def test_an_unknown_name_tells_the_closest_and_all() -> None:
    with pytest.raises(
        UnknownName, match="There is no setting named 'hiden_size'. Did you mean 'hidden_size'"
    ):
        locate("hiden_size")
    with pytest.raises(UnknownName) as error:
        coerce(type(TrialConfig().optim), "clip", "gradients")
    assert str(error.value) == (
        "There is no value of clip named 'gradients'. Did you mean 'gradient'? What exists: gradient, update."
    )
    assert str(UnknownName("run", "x", [])) == "There is no run named 'x'. What exists: none."


def test_an_unknown_name_survives_a_process_border() -> None:
    for error in (
        UnknownName("sweep", "dmo", ["demo"]),
        UnknownName("setting", "z_cel", ["z_cells", "p_cells"], "sweep explain"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (UnknownName, str(error))


def test_names_are_files_and_one_is_imported_when_asked_for() -> None:
    assert {"demo", "figure3", "figure3_small"} <= set(registry.names("sweeps.definitions"))
    assert (
        registry.load("sweeps.definitions", "demo", "sweep").__name__ == "sweeps.definitions.demo"
    )
    with pytest.raises(UnknownName, match="There is no sweep named 'Demo'. Did you mean 'demo'"):
        registry.load("sweeps.definitions", "Demo", "sweep")


def test_the_torch_free_part_of_the_core_loads_no_torch() -> None:
    code = (
        "import sys; from zoneout_core import errors, records, tasks; from zoneout_core.config import registry, trial; tasks.get('char_ptb'); "
        "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_records_round_trip_and_only_ended_states_are_finished() -> None:
    record = EpochRecord(
        trial=1, epoch=2, updates=3, metrics={"train_bpc": 0.1 + 0.2}, final={"best_epoch": 2.0}
    )
    assert msgspec.json.decode(msgspec.json.encode(record), type=EpochRecord) == record
    assert [state for state in TrialState if state.finished] == ["complete", "pruned", "failed"]


@pytest.mark.parametrize("key", [key for key in keys() if type_of(key) is float])
@pytest.mark.parametrize("value", [inf, -inf, nan])
def test_every_number_is_finite_but_the_norm_that_never_clips(key: str, value: float) -> None:
    if (key, value) == ("optim.clip_norm", inf):
        assert TrialConfig().with_values({key: value}).optim.clip_norm == inf
        return
    base, _ = with_and_without(key)
    with pytest.raises(ConfigError, match=f"^{key.rpartition('.')[2]} must be|^{key} must be"):
        base.with_values({key: value})


def test_a_section_made_in_code_is_finite_too() -> None:
    with pytest.raises(
        ConfigError, match="^model.forget_bias must be a finite number, but is nan."
    ):
        TrialConfig(model=ModelConfig(forget_bias=nan))
    with pytest.raises(
        ConfigError, match="^optim.learning_rate must be a finite number, but is inf."
    ):
        TrialConfig(optim=OptimConfig(learning_rate=inf))


def test_there_is_one_zero() -> None:
    zero = TrialConfig().with_values({"forget_constant": -0.0, "z_cells": "-0"})
    assert json.dumps(zero.to_json()) == json.dumps(TrialConfig().to_json())
    assert zero.shape_key() == TrialConfig().shape_key()


@pytest.mark.parametrize("label", ["x" * 201, "a\0b", "\ud800"])
def test_a_label_that_a_database_refuses_is_refused_first(label: str) -> None:
    with pytest.raises(ConfigError, match="^label must be"):
        TrialConfig().with_values({"label": label})


def test_reading_a_configuration_resolves_no_type_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It took 10 of the 11 ms that a configuration took, for each trial and each of its 93
    fields."""
    plain = TrialConfig().to_json()
    TrialConfig.from_json(plain)
    resolved: list[Any] = []
    monkeypatch.setattr(config_fields, "get_type_hints", resolved.append)
    TrialConfig.from_json(plain)
    assert resolved == []
