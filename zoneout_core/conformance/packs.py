"""Small trials in packs, for the tests."""

from collections.abc import Sequence
from typing import Any

from zoneout_core.config.trial import TrialConfig
from zoneout_core.records import EpochRecord
from zoneout_core.training.pack import Pack


def admitted(configs: Sequence[TrialConfig], data: Any) -> Pack:
    """A pack of trials with these configurations, which are of one shape."""
    pack = Pack(configs[0], data, capacity=len(configs))
    for trial, config in enumerate(configs):
        pack.admit(trial, config)
    return pack


def records(configs: Sequence[TrialConfig], data: Any) -> list[list[EpochRecord]]:
    """What each of them records in a pack of them all, trained to the end."""
    pack = admitted(configs, data)
    each: list[list[EpochRecord]] = [[] for _ in configs]
    while pack.trials:
        for event in pack.update():
            if isinstance(event, EpochRecord):
                each[event.trial].append(event)
    return each


def numbers(configs: Sequence[TrialConfig], data: Any) -> list[dict[str, Any]]:
    """The metrics of the last record of each, the final ones included."""
    last = [each[-1] for each in records(configs, data)]
    return [record.metrics | dict(record.final or {}) for record in last]
