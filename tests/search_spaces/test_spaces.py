"""The four parts that spaces are made of."""

import json
import math

import optuna
import pytest

import search_spaces
from search_spaces import NOTHING, Choice, Product, Range, Space, Switch, clip, zoneout_plane
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError, SpaceError, UnknownName

PARTS = [
    Choice("z_cells", (0.0, 0.5)),
    Range("learning_rate", 1e-4, 1e-2, log=True),
    Product((Choice("z_cells", (0.0, 0.5)), Choice("z_states", (0.0, 0.05, 0.1)))),
    Switch("clip", (("gradient", Choice("clip_norm", (1.0, 2.0))), ("update", NOTHING))),
]


def suggestions(space: Space, count: int) -> list[search_spaces.Overrides]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(count)]


@pytest.mark.parametrize("space", PARTS, ids=lambda part: type(part).__name__.lower())
def test_parts_round_trip(space: Space) -> None:
    assert search_spaces.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_grid_of_a_product_varies_the_last_part_fastest() -> None:
    points = PARTS[2].grid()
    assert len(points) == 6
    assert points[:2] == [
        {"regularizer.zoneout.z_cells": 0.0, "regularizer.zoneout.z_states": 0.0},
        {"regularizer.zoneout.z_cells": 0.0, "regularizer.zoneout.z_states": 0.05},
    ]


def test_switch_sets_inner_keys_only_in_their_case() -> None:
    points = PARTS[3].grid()
    assert points == [
        {"optim.clip": "gradient", "optim.clip_norm": 1.0},
        {"optim.clip": "gradient", "optim.clip_norm": 2.0},
        {"optim.clip": "update"},
    ]
    for overrides in suggestions(PARTS[3], 20):
        assert ("optim.clip_norm" in overrides) == (overrides["optim.clip"] == "gradient")


def test_a_switch_works_under_a_product_and_with_tpe() -> None:
    space = Product((clip.space(), Range("learning_rate", 1e-3, 1e-2)))
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=2))
    for _ in range(6):
        trial = study.ask()
        assert set(space.suggest(trial)) == {"optim.clip", "optim.clip_norm", "optim.learning_rate"}
        study.tell(trial, 1.0)


@pytest.mark.parametrize(
    "space", [PARTS[2], PARTS[3], clip.space()], ids=["product", "switch", "clip"]
)
def test_an_enqueued_grid_comes_back_point_by_point(space: Space) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for point in space.grid():
        study.enqueue_trial(search_spaces.params(space, point))
    assert [space.suggest(study.ask()) for _ in space.grid()] == space.grid()


def test_the_plane_is_the_papers_size_and_holds_its_best_pair() -> None:
    points = zoneout_plane.space().grid()
    assert len(points) == 36
    assert {"regularizer.zoneout.z_cells": 0.5, "regularizer.zoneout.z_states": 0.05} in points


def test_a_grid_over_a_range_is_refused() -> None:
    with pytest.raises(SpaceError) as error:
        Product((Choice("z_cells", (0.0,)), Range("learning_rate", 0.001, 0.01))).grid()
    assert str(error.value) == (
        "A grid needs finitely many values, but optim.learning_rate ranges from 0.001 to 0.01. "
        "Choose --set sampler=tpe (or random, qmc, gp), or give the space a list of values."
    )


def test_a_probability_outside_its_range_is_refused_before_a_sweep() -> None:
    with pytest.raises(ConfigError) as error:
        Range("z_cells", 0.0, 1.5).check(TrialConfig())
    assert str(error.value) == (
        "Every point of a space must be a valid configuration, but regularizer.zoneout.z_cells=1.5 is not: regularizer.zoneout.z_cells must "
        "be a probability from 0 to 1, but is 1.5. Take that point out of the space, or change the setting that it conflicts with."
    )


SHARED = {"z_cells": (0.0, 0.5), "z_states": (0.0, 0.5)}


def test_keys_that_are_valid_only_together_pass() -> None:
    pairs = Switch(
        "z_cells", ((0.0, Choice("z_states", (0.0,))), (0.5, Choice("z_states", (0.5,))))
    )
    pairs.check(TrialConfig().with_values({"zoneout_mask": "shared"}))
    Product(
        (Choice("zoneout_mask", ("shared",)), pairs, Range("learning_rate", 0.001, 0.01))
    ).check(TrialConfig())


def test_an_impossible_point_inside_a_grid_is_refused_with_its_reason() -> None:
    with pytest.raises(ConfigError) as error:
        Product(tuple(Choice(key, values) for key, values in SHARED.items())).check(
            TrialConfig().with_values({"zoneout_mask": "shared"})
        )
    assert str(error.value) == (
        "Every point of a space must be a valid configuration, but regularizer.zoneout.z_cells=0.0, regularizer.zoneout.z_states=0.5 is not: "
        "regularizer.zoneout.z_states must be equal to regularizer.zoneout.z_cells (0.0) where they share a mask, but is 0.5. "
        "Take that point out of the space, or change the setting that it conflicts with."
    )


def test_ends_of_ranges_are_tried_with_one_another() -> None:
    both = Product((Range("z_cells", 0.0, 0.5), Range("z_states", 0.0, 0.5)))
    with pytest.raises(ConfigError, match="z_cells=0.0, regularizer.zoneout.z_states=0.5 is not"):
        both.check(TrialConfig().with_values({"zoneout_mask": "shared"}))


def test_a_space_with_very_many_points_is_tried_at_its_bounds() -> None:
    hundred = tuple(range(1, 101))
    many = Product(
        (Choice("z_cells", (0.1, 0.2, 1.1)), Choice("seed", hundred), Choice("batch_size", hundred))
    )
    with pytest.raises(
        ConfigError, match=r"but seed=1, batch_size=1, regularizer.zoneout.z_cells=1.1 is not"
    ):
        many.check(TrialConfig())


@pytest.mark.parametrize(
    "space", [*PARTS, Product((PARTS[3], PARTS[0], PARTS[1])), NOTHING], ids=range(6)
)
def test_bounds_are_corners_and_leave_no_value_out(space: Space) -> None:
    corners, bounds = list(space.corners()), list(space.bounds())
    assert all(bound in corners for bound in bounds)
    assert {pair for point in bounds for pair in point.items()} == {
        pair for point in corners for pair in point.items()
    }
    assert bounds


def test_what_is_there_in_every_assignment() -> None:
    assert list(PARTS[2].always()) == [
        "regularizer.zoneout.z_cells",
        "regularizer.zoneout.z_states",
    ]
    assert list(PARTS[3].always()) == ["optim.clip"]
    assert list(clip.space().always()) == ["optim.clip", "optim.clip_norm"]


ROWS = Switch(
    "label",
    (
        ("no regularizer", NOTHING),
        ("zoneout", Product((Choice("z_cells", (0.5,)), Choice("z_states", (0.05, 0.1))))),
        ("2", Range("z_states", 0.1, 0.2)),
    ),
)


def test_rows_of_a_table_are_a_switch_over_the_label() -> None:
    ROWS.check(TrialConfig())
    assert search_spaces.from_json(json.loads(json.dumps(ROWS.to_json()))) == ROWS
    finite = Switch("label", ROWS.cases[:2])
    assert [point["label"] for point in finite.grid()] == ["no regularizer", "zoneout", "zoneout"]
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=2))
    for point in finite.grid():
        study.enqueue_trial(search_spaces.params(finite, point))
    assert [finite.suggest(study.ask()) for _ in finite.grid()] == finite.grid()
    for point in suggestions(ROWS, 10):
        assert TrialConfig().with_values(point).label == point["label"]
    assert "regularizer.zoneout.z_states [label=zoneout]" in study.trials[1].params


def test_a_switch_with_a_value_twice_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        Switch("label", (("zoneout", NOTHING), ("zoneout", NOTHING)))
    assert str(error.value) == (
        "A switch needs distinct values, but label has ['zoneout', 'zoneout']. Name each value once."
    )


def test_unknown_keys_spaces_and_doubled_keys_are_named() -> None:
    with pytest.raises(
        UnknownName, match="There is no setting named 'z_cell'. Did you mean 'z_cells'"
    ):
        Choice("z_cell", (0.0,))
    with pytest.raises(
        UnknownName, match="There is no space named 'zoneout_plan'. Did you mean 'zoneout_plane'"
    ):
        search_spaces.get("zoneout_plan")
    with pytest.raises(ConfigError, match="distinct keys, but optim.clip_norm occurs twice"):
        Product((Choice("clip_norm", (1.0,)), Choice("clip_norm", (2.0,))))
    with pytest.raises(
        ConfigError, match="low < high, but regularizer.zoneout.z_cells has low=0.5, high=0.1"
    ):
        Range("z_cells", 0.5, 0.1)
    with pytest.raises(ConfigError, match="A choice needs distinct values"):
        Choice("z_cells", (0.5, 0.5))


# What a value is


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("z_cells", ("0.1", 0.1)),
        ("z_cells", (0.0, -0.0)),
        ("gaussian_masks", (True, "true")),
        ("seed", (1, 1.0)),
        ("seed", (2, "2")),
        ("clip_norm", (math.inf, "inf")),
        ("label", ("1", 1)),
    ],
)
def test_values_that_are_one_configuration_are_one_value(
    key: str, values: tuple[object, ...]
) -> None:
    with pytest.raises(ConfigError, match="A choice needs distinct values"):
        Choice(key, values)
    with pytest.raises(ConfigError, match="A switch needs distinct values"):
        Switch(key, tuple((value, NOTHING) for value in values))


def test_values_have_the_type_of_their_key() -> None:
    assert Choice("hidden_size", (2.0, "3")).values == (2, 3)
    assert str(Choice("z_cells", (-0.0,)).values) == "(0.0,)"
    with pytest.raises(ConfigError) as error:
        Choice("hidden_size", (8, 2.5))
    assert (
        str(error.value)
        == "model.hidden_size must be a whole number, but is 2.5. Mend that value of the space."
    )
    with pytest.raises(
        UnknownName,
        match="There is no value of optim.clip named 'gradeint'. Did you mean 'gradient'",
    ):
        Choice("clip", ("gradeint",))


def test_infinity_is_a_word_in_json_and_in_optuna() -> None:
    space = Product(
        (Choice("clip_norm", (1.0, math.inf)), Switch("epochs", ((1, NOTHING), (2.0, NOTHING))))
    )
    text = json.dumps(space.to_json(), allow_nan=False)
    assert search_spaces.from_json(json.loads(text)) == space
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for point in space.grid():
        study.enqueue_trial(search_spaces.params(space, point))
    assert [space.suggest(study.ask()) for _ in space.grid()] == space.grid()
    assert space.grid()[-1] == {"optim.clip_norm": math.inf, "epochs": 2}
    assert study.trials[-1].params["optim.clip_norm"] == "inf"


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "key", ["epochs", "model.hidden_size", "batch_size", "model.num_layers", "seed"]
)
def test_a_range_over_whole_numbers_draws_whole_numbers_and_both_ends(key: str, log: bool) -> None:
    space = Range(key, 1, 4, log=log)
    drawn = [overrides[key] for overrides in suggestions(space, 60)]
    assert set(drawn) == {1, 2, 3, 4}
    assert {type(value) for value in drawn} == {int}
    assert search_spaces.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_a_range_draws_no_number_outside_its_ends() -> None:
    """exp(log(0.1)) is above 0.1, and exp(log(0.001)) below 0.001."""
    low = 0.001
    assert math.exp(math.log(low)) != low
    narrow = Range("learning_rate", low, math.nextafter(low, 1), log=True)
    assert all(
        low <= overrides["optim.learning_rate"] <= narrow.high
        for overrides in suggestions(narrow, 20)
    )


@pytest.mark.parametrize(
    ("key", "low", "high", "log", "text"),
    [
        (
            "learning_rate",
            0.1,
            math.inf,
            False,
            "A range needs two finite ends, integers up to 2^31, but",
        ),
        ("forget_bias", -1e308, 1e308, False, "A range needs two finite ends"),
        ("forget_bias", -math.inf, 0.0, False, "A range needs two finite ends"),
        ("clip_norm", 1.0, math.inf, True, "A range needs two finite ends"),
        ("seed", 0, 2**40, False, "A range needs two finite ends"),
        ("learning_rate", math.nan, 0.1, False, "A range needs low < high"),
        ("learning_rate", 0.0, 0.1, True, "A range needs 0 < low < high"),
        ("epochs", 0, 5, True, "A range needs 0 < low < high"),
        (
            "epochs",
            1.5,
            5,
            False,
            "epochs must be a whole number, but is 1.5. Mend that value of the space.",
        ),
        (
            "label",
            0,
            1,
            False,
            "A range needs a key whose values are numbers, but label is not. Use a choice.",
        ),
        ("gaussian_masks", 0, 1, False, "A range needs a key whose values are numbers"),
        ("clip", 0, 1, False, "A range needs a key whose values are numbers"),
    ],
)
def test_a_range_that_cannot_be_drawn_from_is_refused(
    key: str, low: float, high: float, log: bool, text: str
) -> None:
    with pytest.raises(ConfigError) as error:
        Range(key, low, high, log)
    assert str(error.value).startswith(text)


def test_two_values_that_do_not_go_together_are_found_in_a_large_space() -> None:
    """Neither is the first of its part, and the space has more than 4,096 corners."""
    cells, rates = Choice("cell", ("lstm", "gru")), Choice("z_cells", (0.0, 0.5))
    many = Choice("seed", tuple(range(3000)))
    with pytest.raises(
        ConfigError, match=r"regularizer.zoneout.z_cells must be 0 with model.cell=gru"
    ):
        Product((cells, many, rates)).check(TrialConfig())
    Product((Choice("cell", ("lstm", "rnn")), many)).check(TrialConfig())
