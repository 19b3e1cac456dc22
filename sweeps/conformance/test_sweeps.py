"""The rules of every sweep."""

import json

import pytest

from sweeps import definition, preflight
from sweeps.definition import Sweep
from zoneout_core.conformance import subjects

every_sweep = pytest.mark.parametrize("name", subjects("sweeps.definitions"))


@every_sweep
def test_it_is_named_after_its_file_and_described(name: str) -> None:
    """`sweep()` without arguments returns a Sweep whose name is the file's; its description, for
    `sweep ls`, has more than 20 characters."""
    sweep = definition.get(name)
    assert sweep.name == name
    assert len(sweep.description) > 20
    assert sweep.max_trials > 0


@every_sweep
def test_it_round_trips(name: str) -> None:
    """A run keeps its definition as JSON, from which an equal sweep is made."""
    sweep = definition.get(name)
    assert Sweep.from_json(json.loads(json.dumps(sweep.to_json()))) == sweep


@every_sweep
def test_its_trials_are_configurations(name: str) -> None:
    """Every corner of the space is a valid configuration, and the size of its checkpoint can be
    estimated."""
    sweep = definition.get(name)
    for config in preflight.shapes(sweep):
        assert preflight.checkpoint_bytes(config, None) >= 0
