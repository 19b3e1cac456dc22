"""The rules of every space."""

import json

import optuna
import pytest

import search_spaces
from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance import subjects

every_space = pytest.mark.parametrize("name", subjects("search_spaces"))


@every_space
def test_it_suggests_values_that_a_configuration_takes(name: str) -> None:
    """`space()` without arguments suggests values of its own keys, each of the key's type and in
    its range."""
    space = search_spaces.get(name)
    space.check(TrialConfig())
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for overrides in [space.suggest(study.ask()) for _ in range(10)]:
        assert set(overrides) <= set(space.keys())
        flat = TrialConfig().with_values(overrides).flat()
        assert flat | overrides == flat


@every_space
def test_it_is_plain_data(name: str) -> None:
    """A space is made of Choice, Range, Product and Switch, so it survives JSON."""
    space = search_spaces.get(name)
    assert search_spaces.from_json(json.loads(json.dumps(space.to_json()))) == space
