"""The regularizers' spaces: the paper's values are points of their grids, and every point switches
something on."""

from typing import Any

import optuna
import pytest

import search_spaces
from search_spaces import Overrides, Switch, regularizer
from zoneout_core import regularizers
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError, SpaceError

FILES = {
    "dropout": "non_recurrent_dropout",
    "zoneout_cells": "zoneout",
    "zoneout_states": "zoneout",
}
"""Spaces whose regularizer has another name."""

PAPER: dict[str, dict[str, Any]] = {
    "stochastic_depth": {"regularizer.stochastic_depth.z_depth": 0.05},
    "recurrent_dropout": {"regularizer.recurrent_dropout.p_recurrent": 0.25},
    "weight_noise": {"regularizer.weight_noise.sigma_weights": 0.075},
    "norm_stabilizer": {"regularizer.norm_stabilizer.beta_norm": 50.0},
    "dropout": {
        "regularizer.non_recurrent_dropout.p_inputs": 0.65,
        "regularizer.non_recurrent_dropout.p_between": 0.65,
        "regularizer.non_recurrent_dropout.p_outputs": 0.65,
    },
    "rnn_drop": {"regularizer.rnn_drop.p_rnn_drop": 0.25},
    "naive_dropout": {"regularizer.naive_dropout.p_cells": 0.5},
    "surprisal": {
        "model.cell": "surprisal_lstm",
        "cell.tau": 0.2,
        "regularizer.surprisal.surprisal_masks": "sampled",
    },
    "static_masks": {
        "regularizer.static_masks.static_masks": "same",
        "regularizer.zoneout.z_cells": 0.5,
        "regularizer.zoneout.z_states": 0.05,
    },
    "output_gate": {
        "regularizer.output_gate.gate_form": "intent",
        "regularizer.output_gate.p_gate": 0.25,
    },
    "variational": {
        "regularizer.variational.variational_masks": "untied",
        "regularizer.variational.p_sequence_states": 0.3,
        "regularizer.variational.p_sequence_outputs": 0.5,
    },
}


SHIPPED = {
    "evaluation_masks",
    "gaussian_masks",
    "input_dropout",
    "naive_dropout",
    "non_recurrent_dropout",
    "norm_stabilizer",
    "output_gate",
    "recurrent_dropout",
    "rnn_drop",
    "static_masks",
    "stochastic_depth",
    "surprisal",
    "variational",
    "weight_noise",
    "zoneout",
}
"""The project's own regularizers; one of yours needs no space until you search it."""


def test_every_regularizer_of_the_project_has_a_space() -> None:
    covered = {FILES.get(name, name) for name in search_spaces.names()}
    assert set(regularizers.names()) >= SHIPPED
    assert covered >= SHIPPED


OWN = {
    FILES.get(space, space): space
    for space in search_spaces.names()
    if not space.startswith("zoneout")
}


@pytest.mark.parametrize("name", sorted(OWN.keys() & set(regularizers.names())))
def test_every_point_of_a_regularizers_grid_switches_it_on(name: str) -> None:
    grid = search_spaces.get(OWN[name]).grid()
    assert len({tuple(point.items()) for point in grid}) == len(grid)
    for point in grid:
        active = TrialConfig().with_values(point).regularizer.active()
        assert name in {type(part).__module__.rpartition(".")[2] for part in active}, point


@pytest.mark.parametrize("name", sorted(PAPER))
def test_the_papers_values_are_points_of_the_grid(name: str) -> None:
    assert PAPER[name] in search_spaces.get(name).grid()


def test_the_paper_tried_five_probabilities_of_recurrent_dropout() -> None:
    grid = search_spaces.get("recurrent_dropout").grid()
    assert [point["regularizer.recurrent_dropout.p_recurrent"] for point in grid] == [
        0.05,
        0.2,
        0.25,
        0.5,
        0.7,
    ]


@pytest.mark.parametrize(
    "name", ["stochastic_depth", "recurrent_dropout", "weight_noise", "norm_stabilizer"]
)
def test_without_a_list_a_space_is_a_range_that_a_configuration_allows(name: str) -> None:
    space = search_spaces.registry.load("search_spaces", name, "space").space(None)
    space.check(TrialConfig())
    with pytest.raises(SpaceError, match="A grid needs finitely many values"):
        space.grid()


# The regularizer as a choice


def suggested(space: search_spaces.Space, count: int) -> list[Overrides]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(count)]


def test_the_regularizer_is_a_choice_that_brings_its_own_settings() -> None:
    space = regularizer.space()
    assert isinstance(space, Switch)
    seen: dict[str, set[str]] = {}
    for overrides in suggested(space, 200):
        config = TrialConfig().with_values(overrides)
        seen.setdefault(config.label, set()).update(overrides)
        assert bool(config.regularizer.active()) == (config.label != "unregularized")
    assert set(seen) == set(regularizer.SPACES)
    assert seen["unregularized"] == {"label"}
    assert seen["weight-noise"] == {"label", "regularizer.weight_noise.sigma_weights"}
    assert seen["zoneout"] == {
        "label",
        "regularizer.zoneout.z_cells",
        "regularizer.zoneout.z_states",
    }


def test_some_regularizers_may_be_named() -> None:
    grid = regularizer.space(("unregularized", "zoneout")).grid()
    zoneout = {
        "label": "zoneout",
        "regularizer.zoneout.z_cells": 0.5,
        "regularizer.zoneout.z_states": 0.05,
    }
    assert grid == [{"label": "unregularized"}, zoneout]


def test_every_point_can_be_enqueued_and_comes_back() -> None:
    space = regularizer.space()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    grid = space.grid()
    for point in grid:
        study.enqueue_trial(search_spaces.params(space, point))
    assert [space.suggest(study.ask()) for _ in grid] == grid


def test_a_regularizer_that_the_cell_has_no_place_for_is_refused_with_the_sweep() -> None:
    base = TrialConfig().with_values({"model.cell": "rnn"})
    with pytest.raises(
        ConfigError, match="regularizer.recurrent_dropout.p_recurrent must be 0 with model.cell=rnn"
    ):
        search_spaces.get("recurrent_dropout").check(base)
