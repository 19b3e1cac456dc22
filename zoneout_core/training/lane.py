"""A lane of a pack without its rows of numbers: its progress, its records, and when it is done."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from zoneout_core import tasks
from zoneout_core.config.trial import TrialConfig
from zoneout_core.records import EpochRecord


@dataclass(kw_only=True, slots=True)
class Lane:
    """A trial in training. Fields have the same meaning as in a `LaneState`."""

    trial: int
    config: TrialConfig
    epoch_updates: int
    """Updates in an epoch."""
    updates: int = 0
    restarted_at: int = 0
    restarts: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    records: list[EpochRecord] = field(default_factory=list)

    @property
    def best(self) -> EpochRecord:
        """The record with the lowest objective."""
        return best(self.config, self.records)


def best(config: TrialConfig, records: Sequence[EpochRecord]) -> EpochRecord:
    """The record with the lowest objective of the trial's task, the earliest of equals."""
    objective = tasks.get(config.task).metrics.objective
    return min(records, key=lambda record: record.metrics[objective])


def completed(config: TrialConfig, records: Sequence[EpochRecord]) -> str | None:
    """The reason that a trial with these records is complete; None while it is not."""
    epoch = records[-1].epoch
    if epoch >= config.epochs:
        return f"all {config.epochs} epochs"
    if epoch - best(config, records).epoch >= config.patience:
        return f"no better validation value for {config.patience} epochs"
    return None
