"""Small trials in packs, for tests."""

from collections.abc import Sequence
from typing import Any

from zoneout_core.config.trial import TrialConfig
from zoneout_core.records import EpochRecord
from zoneout_core.training.pack import Pack


def admitted(configs: Sequence[TrialConfig], data: Any) -> Pack:
    """A pack of trials with these configurations, which share their shape key."""
    pack = Pack(configs[0], data, capacity=len(configs))
    for trial, config in enumerate(configs):
        pack.admit(trial, config)
    return pack


def records(configs: Sequence[TrialConfig], data: Any) -> list[list[EpochRecord]]:
    """The records of each trial, when all of them are trained to the end in one pack."""
    pack = admitted(configs, data)
    trial_records: list[list[EpochRecord]] = [[] for _ in configs]
    while pack.trials:
        for event in pack.update():
            if isinstance(event, EpochRecord):
                trial_records[event.trial].append(event)
    return trial_records


def numbers(configs: Sequence[TrialConfig], data: Any) -> list[dict[str, Any]]:
    """The metrics of the last record of each trial, including the final metrics."""
    last_records = [trial_records[-1] for trial_records in records(configs, data)]
    return [record.metrics | dict(record.final or {}) for record in last_records]
