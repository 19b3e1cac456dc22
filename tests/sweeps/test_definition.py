"""Definitions: overrides, their errors, and what a resumed run may change."""

import json
from dataclasses import replace

import pytest

from search_spaces import NOTHING, Choice, Switch
from sweeps import definition
from sweeps.definition import Sweep
from zoneout_core import tasks
from zoneout_core.errors import ConfigError, SpaceError, UnknownName


def test_figure3_is_the_papers_plane_at_the_papers_size() -> None:
    sweep = definition.get("figure3")
    assert sweep.max_trials == 36
    assert (
        sweep.base.model.hidden_size,
        sweep.base.epochs,
        sweep.base.batch_size,
        sweep.base.sequence_length,
    ) == (
        1000,
        30,
        32,
        100,
    )
    assert (sweep.base.optim.learning_rate, sweep.base.optim.clip_norm, sweep.seeds) == (
        0.002,
        1.0,
        (0,),
    )
    assert definition.get("figure3_small").base.model.hidden_size == 128


def test_seeds_become_the_slowest_part_of_the_space() -> None:
    sweep = definition.get("demo").with_values({"seeds": "3,5"})
    points = sweep.search_space.grid()
    assert sweep.max_trials == len(points) == 18
    assert [point["seed"] for point in points[:10]] == [3] * 9 + [5]
    assert sweep.trial_config(points[-1]).seed == 5
    assert definition.get("demo").with_values({"seeds": "7"}).trial_config({}).seed == 7


def test_values_are_set_on_the_sweep_or_on_its_base() -> None:
    sweep = definition.get("demo").with_values(
        {"hidden_size": "64", "optim.clip_norm": "inf", "lanes": "3", "time_budget_s": "9.5"}
    )
    assert (
        sweep.base.model.hidden_size,
        sweep.base.optim.clip_norm,
        sweep.lanes,
        sweep.time_budget_s,
    ) == (
        64,
        float("inf"),
        3,
        9.5,
    )
    assert Sweep.from_json(json.loads(json.dumps(sweep.to_json()))) == sweep


@pytest.mark.parametrize(
    ("values", "kind", "text"),
    [
        (
            {"hiden_size": "3"},
            UnknownName,
            "There is no setting named 'hiden_size'. Did you mean 'hidden_size'",
        ),
        (
            {"sampler": "tpee"},
            UnknownName,
            "There is no sampler named 'tpee'. Did you mean 'tpe'? What exists: gp, grid, qmc, random, tpe.",
        ),
        (
            {"scheduler": "ash"},
            UnknownName,
            "There is no scheduler named 'ash'. Did you mean 'asha'? What exists: asha, hyperband, median, none.",
        ),
        (
            {"lanes": "many"},
            ConfigError,
            "lanes must be a whole number, but is 'many'. Set it with --set lanes=VALUE.",
        ),
        (
            {"lanes": "0"},
            ConfigError,
            "lanes must be at least 1, but is 0. Set it with --set lanes=VALUE.",
        ),
        (
            {"epochs": "2.5"},
            ConfigError,
            "epochs must be a whole number, but is '2.5'. Set it with --set epochs=VALUE.",
        ),
        (
            {"z_cells": "0.5"},
            ConfigError,
            "regularizer.zoneout.z_cells is searched by the space of sweep demo, so it cannot be set. Leave it out.",
        ),
        (
            {"seed": "1"},
            ConfigError,
            "Seeds are set for the whole sweep: use --set seeds=0 or --set seeds=0,1,2.",
        ),
        (
            {"seeds": "1,1"},
            ConfigError,
            "seeds must be distinct, but is (1, 1). Set it with --set seeds=VALUE.",
        ),
        (
            {"sampler": "tpe"},
            ConfigError,
            "num_trials must be above 0 with sampler=tpe, which never ends by itself, but is 0. Set it with --set num_trials=VALUE.",
        ),
        (
            {"space": "learning_rate"},
            SpaceError,
            "A grid needs finitely many values, but optim.learning_rate ranges from 0.0001 to 0.01. "
            "Choose --set sampler=tpe (or random, qmc, gp), or give the space a list of values.",
        ),
        (
            {"space": "plane"},
            UnknownName,
            "There is no space named 'plane'. Did you mean 'zoneout_plane'?",
        ),
        (
            {"space": "seed", "hidden_size": "0"},
            ConfigError,
            "model.hidden_size must be at least 1, but is 0. Set it with --set model.hidden_size=VALUE.",
        ),
        (
            {"cell": "gru"},
            ConfigError,
            "Every point of a space must be a valid configuration, but regularizer.zoneout.z_cells=0.25, regularizer.zoneout.z_states=0.0 is "
            "not: regularizer.zoneout.z_cells must be 0 with model.cell=gru",
        ),
        (
            {"task": "char_ptp"},
            UnknownName,
            "There is no task named 'char_ptp'. Did you mean 'char_ptb'?",
        ),
        ({"device": "gpu"}, UnknownName, "There is no value of device named 'gpu'."),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_refused_with_the_rule_and_the_next_step(
    values: dict[str, str], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as error:
        definition.get("demo").with_values(values)
    assert str(error.value).startswith(text)


def test_a_probability_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        definition.get("demo").with_values(
            {"space": "learning_rate", "sampler": "tpe", "num_trials": "3", "z_states": "1.5"}
        )
    assert (
        str(error.value)
        == "regularizer.zoneout.z_states is searched by the space of sweep demo, so it cannot be set. Leave it out."
    )
    only_rates = definition.get("demo").with_values(
        {"space": "learning_rate", "sampler": "tpe", "num_trials": "3"}
    )
    with pytest.raises(ConfigError) as error:
        only_rates.with_values({"z_states": "1.5"})
    assert str(error.value) == (
        "regularizer.zoneout.z_states must be a probability from 0 to 1, but is 1.5. Set it with --set regularizer.zoneout.z_states=VALUE."
    )


def test_a_definition_with_unknown_or_missing_fields_is_refused() -> None:
    plain = definition.get("demo").to_json()
    with pytest.raises(
        UnknownName, match="There is no field of a sweep named 'laness'. Did you mean 'lanes'"
    ):
        Sweep.from_json(plain | {"laness": 3})
    with pytest.raises(ConfigError, match="has no space"):
        Sweep.from_json({key: value for key, value in plain.items() if key != "space"})


def test_only_fields_that_no_number_depends_on_may_differ_after_a_resume() -> None:
    sweep = definition.get("demo")
    assert (
        sweep.differences(
            sweep.with_values({"lanes": "2", "time_budget_s": "5", "max_concurrent_trials": "1"})
        )
        == []
    )
    assert sweep.differences(sweep.with_values({"epochs": "9", "sampler_seed": "1"})) == [
        "sampler_seed: 0 -> 1",
        "epochs: 8 -> 9",
    ]


def test_a_sweep_has_the_metrics_of_its_one_task() -> None:
    demo = definition.get("demo")
    assert demo.metrics == tasks.get("char_pydoc").metrics
    with pytest.raises(ConfigError) as error:
        replace(demo, space=Choice("task", ("char_ptb", "char_pydoc")))
    assert str(error.value) == (
        "Trials of a sweep are compared, so it has one task. Make a sweep for each task."
    )


def test_rows_of_a_table_are_trials_with_labels() -> None:
    rows = Switch("label", (("baseline", NOTHING), ("zoneout", Choice("z_cells", (0.5,)))))
    sweep = replace(definition.get("demo"), space=rows, seeds=(1, 2))
    assert Sweep.from_json(json.loads(json.dumps(sweep.to_json()))) == sweep
    told = [sweep.trial_config(point) for point in sweep.search_space.grid()]
    assert [(one.label, one.seed, one.regularizer.zoneout.z_cells) for one in told] == [
        ("baseline", 1, 0.0),
        ("zoneout", 1, 0.5),
        ("baseline", 2, 0.0),
        ("zoneout", 2, 0.5),
    ]
    assert len({one.shape_key() for one in told}) == 1, "a label is no part of the shape"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"forget_bias": "nan"}, "model.forget_bias must be a finite number, but is nan."),
        ({"time_budget_s": "inf"}, "time_budget_s must be a finite number, but is inf."),
        ({"time_budget_s": "nan"}, "time_budget_s must be a finite number, but is nan."),
        ({"learning_rate": "inf"}, "optim.learning_rate must be a finite number, but is inf."),
        ({"learning_rate": "1e999"}, "optim.learning_rate must be a finite number, but is inf."),
        ({"init_width": "inf"}, "model.init_width must be a finite number, but is inf."),
        ({"weight_decay": "2"}, "optim.weight_decay must be at least 0 and below 1, but is 2.0."),
        ({"clip_norm": "nan"}, "optim.clip_norm must be above 0 (inf never clips), but is nan."),
        ({"sampler_seed": "1" + "0" * 30}, "sampler_seed must be below 2^63 in size, but is "),
        ({"lanes": True}, "lanes must be a whole number, but is True."),
        ({"hidden_size": 2.5}, "model.hidden_size must be a whole number, but is 2.5."),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_no_trial_can_have_is_refused_before_the_run(
    values: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigError) as error:
        definition.get("demo").with_values(values)
    assert str(error.value).startswith(text)


def test_axes_are_keys() -> None:
    assert (
        definition.get("demo").with_values({"x_axis": "hidden_size"}).x_axis == "model.hidden_size"
    )
    with pytest.raises(
        UnknownName, match="There is no setting named 'z_cell'. Did you mean 'z_cells'"
    ):
        definition.get("demo").with_values({"x_axis": "z_cell"})


@pytest.mark.parametrize("name", ["", "it's", "a/b", "../up", ".hidden", "two words"])
def test_a_name_can_be_that_of_a_folder(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        replace(definition.get("demo"), name=name)
    assert str(error.value) == (
        f"A sweep's name is made of letters, digits, _ and -, but is {name!r}. Rename it."
    )


def test_a_definition_that_was_edited_by_hand_is_read_with_the_fields_types() -> None:
    plain = definition.get("demo").to_json()
    assert Sweep.from_json(plain | {"num_trials": 4.0, "seeds": ["1", 2.0]}) == replace(
        definition.get("demo"), num_trials=4, seeds=(1, 2)
    )
    with pytest.raises(ConfigError, match=r"num_trials must be a whole number, but is 2.5"):
        Sweep.from_json(plain | {"num_trials": 2.5})
    with pytest.raises(ConfigError, match="seeds must be distinct"):
        Sweep.from_json(plain | {"seeds": [0, 0.0]})
