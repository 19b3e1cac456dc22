"""A definition that passes its check can be drawn from everywhere, and is strict JSON wherever it
is written."""

import json
import random
from dataclasses import fields, replace
from math import inf, nan
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

import pytest

from search_spaces import NOTHING, Choice, Product, Range, Space, Switch
from sweeps import definition
from sweeps.books import export
from sweeps.books.sampling import START_UP
from sweeps.books.study import Study
from sweeps.definition import Sweep
from tests.sweeps.driven import begin, drive_inline, tiny
from zoneout_core.config.keys import keys, owners_of, type_of
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError, SpaceError, UnknownName
from zoneout_core.records import TrialState

REFUSALS = (ConfigError, SpaceError, UnknownName)
STRANGE = (
    inf,
    -inf,
    nan,
    -0.0,
    0,
    True,
    "true",
    "0.5",
    0.5,
    1,
    1.0,
    "1",
    "",
    "nan",
    "inf",
    "1e999",
    None,
    2.0,
    2.5,
)
HUGE = (1e308, -1e308, 5e-324, 2**53, 2**63, 10**400, "1" * 500)
SEARCHED = sorted(set(keys()) - {"task"})
DEMO = definition.get("demo")


def refuse_constant(word: str) -> NoReturn:
    raise AssertionError(f"{word} is no JSON")


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=refuse_constant)


class Generator:
    """Makes spaces: mostly sensible ones, over any key."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, key: str) -> Any:
        """For a key: mostly of its type and near its default."""
        if self.random.random() < 0.07:
            return self.random.choice(STRANGE + HUGE)
        hint = type_of(key)
        owner = owners_of(key)[0]
        default = {field.name: field.default for field in fields(owner)}[key.rpartition(".")[2]]
        if get_origin(hint) is Literal:
            return self.random.choice(get_args(hint))
        if hint is bool:
            return self.random.choice((True, False, "true"))
        if hint is str:
            return (
                default
                if key != "label"
                else self.random.choice(("a", "zoneout 0.5", "é\n", "x] [y=1"))
            )
        if hint is int:
            return self.random.choice(
                (default, default + 1, default + self.random.randrange(9), float(default))
            )
        return self.random.choice(
            (default, default / 2, self.random.random(), self.random.choice((0, 1, 0.05)))
        )

    def space(self, keys: list[str], depth: int = 0) -> Space:
        """Over some of `keys`, which are used up."""
        kind = (
            self.random.choice(("choice", "choice", "range", "range", "product", "switch"))
            if depth < 3
            else "choice"
        )
        if not keys:
            return NOTHING
        if kind == "product":
            return Product(
                tuple(self.space(keys, depth + 1) for _ in range(self.random.randint(1, 3)))
            )
        key = keys.pop()
        values = [self.value(key) for _ in range(self.random.randint(1, 4))]
        if kind == "range":
            ends = (
                sorted((values * 2)[:2])
                if all(isinstance(value, int | float) for value in values)
                else values * 2
            )
            return Range(key, ends[0], ends[1], log=self.random.random() < 0.3)
        if kind == "switch":
            return Switch(key, tuple((value, self.space([*keys], depth + 1)) for value in values))
        return Choice(key, tuple(values))

    def sweep(self, sampler: str, trials: int) -> Sweep:
        """Raises one of `REFUSALS`."""
        keys = self.random.sample(SEARCHED, self.random.randint(1, 5))
        seeds = self.random.choice(((0,), (0,), (0, 1), (2.0, "3"), (0, 0.0)))
        return replace(
            DEMO, space=self.space(keys), sampler=sampler, num_trials=trials, seeds=seeds
        )


def draw(sweep: Sweep, folder: Path) -> list[TrialConfig]:
    """Every trial of the sweep, each complete with a value of its own; reopened in between."""
    folder.mkdir(exist_ok=True)
    drawn: list[TrialConfig] = []
    while (assignment := (study := Study("s", sweep, folder / "study.journal")).ask()) is not None:
        told = strict(json.dumps(assignment.params, allow_nan=False))
        assert sweep.trial_config(told) == assignment.config, (
            "the journal's parameters are the trial's"
        )
        assert (
            TrialConfig.from_json(strict(json.dumps(assignment.config.to_json())))
            == assignment.config
        )
        assert (
            TrialConfig.from_json(strict(json.dumps(assignment.config.changed())))
            == assignment.config
        )
        study.tell(assignment.trial, TrialState.COMPLETE, "done", float(assignment.trial % 7))
        drawn.append(assignment.config)
    text = (folder / "study.journal").read_text()
    assert "Infinity" not in text, "not even in the text of a distribution"
    assert "NaN" not in text
    [strict(line) for line in text.splitlines()]
    return drawn


@pytest.mark.parametrize(
    ("sampler", "spaces", "trials"),
    [("random", 120, 4), ("tpe", 60, 14), ("qmc", 60, 4), ("grid", 60, 0)],
)
def test_a_definition_is_refused_or_can_be_drawn_from(
    tmp_path: Path, sampler: str, spaces: int, trials: int
) -> None:
    passed = 0
    for seed in range(spaces):
        try:
            sweep = Generator(seed).sweep(sampler, trials)
        except REFUSALS:
            continue
        passed += 1
        assert Sweep.from_json(strict(json.dumps(sweep.to_json(), allow_nan=False))) == sweep
        if sweep.max_trials < 50:
            assert len(draw(sweep, tmp_path / str(seed))) == sweep.max_trials, seed
    assert passed > spaces / 8, "the generator makes spaces that can be drawn from, too"


def test_gp_can_draw_from_what_is_not_refused(tmp_path: Path) -> None:
    space = Product(
        (
            Range("hidden_size", 1, 100_000, log=True),
            Range("learning_rate", 5e-324, 1e308, log=True),
        )
    )
    sweep = replace(DEMO, space=space, sampler="gp", num_trials=START_UP + 1)
    assert len(draw(sweep, tmp_path)) == START_UP + 1


WIDE = Range("seed", 0, 2**31)


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
def test_ends_of_what_a_number_can_be_are_drawn_from(tmp_path: Path, sampler: str) -> None:
    wide = Product(
        (WIDE, Range("learning_rate", 5e-324, 1e308, log=True), Range("forget_bias", -1e307, 1e308))
    )
    drawn = draw(replace(DEMO, space=wide, sampler=sampler, num_trials=START_UP + 4), tmp_path)
    assert len({config.seed for config in drawn}) == START_UP + 4
    assert all(1e308 >= config.optim.learning_rate >= 5e-324 for config in drawn)


def test_gp_is_refused_what_it_would_make_a_table_of() -> None:
    with pytest.raises(ConfigError) as error:
        replace(DEMO, space=WIDE, sampler="gp", num_trials=3)
    assert str(error.value) == (
        "A range of whole numbers must be at most 100000 wide with sampler=gp, which looks at each, but seed ranges "
        "from 0 to 2147483648. Narrow it, or choose --set sampler=tpe."
    )


def test_a_run_over_infinity_ends_and_is_read_back(tmp_path: Path) -> None:
    """`clip_norm=inf` never clips; the run is driven, interrupted and resumed as any other."""
    sweep = replace(
        tiny(), space=Product((Choice("clip_norm", (1.0, inf)), Choice("epochs", (1, 2))))
    )
    run = begin(tmp_path, sweep)
    assert run.definition() == replace(sweep, threads=1)
    drive_inline(run, run.definition(), idle=True)
    drive_inline(run, run.definition(), idle=True)
    story = run.story()
    assert [trial.params["optim.clip_norm"] for trial in story.trials.values()] == [
        1.0,
        1.0,
        "inf",
        "inf",
    ]
    for file in (run.journal, run.study, run.folder / "sweep.json", run.provenance):
        assert "Infinity" not in file.read_text()
    rows = strict(export.render(export.rows(story), "json"))["rows"]
    assert [row["optim.clip_norm"] for row in rows] == [1.0, 1.0, "inf", "inf"]
