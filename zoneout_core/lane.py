"""What a pack knows of a lane besides its rows of numbers: where it stands, what it recorded, when it is done."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from zoneout_core.batches import Batches
from zoneout_core.config import TrialConfig
from zoneout_core.records import OBJECTIVE, EpochRecord


@dataclass(kw_only=True, slots=True)
class Lane:
    """Its fields mean the same as those of a `LaneState`."""

    trial: int
    config: TrialConfig
    batches: Batches
    step: int = 0
    loss_sum: float = 0.0
    norm_sum: float = 0.0
    seconds: float = 0.0
    records: list[EpochRecord] = field(default_factory=list)

    @property
    def best(self) -> EpochRecord:
        """The record with the lowest validation value."""
        return best(self.records)


def best(records: Sequence[EpochRecord]) -> EpochRecord:
    """The record with the lowest validation value, the first of equals."""
    return min(records, key=lambda record: record.metrics[OBJECTIVE])


def completed(config: TrialConfig, records: Sequence[EpochRecord]) -> str | None:
    """Why a trial with these records is complete, or None while it is not."""
    epoch = records[-1].epoch
    if epoch >= config.epochs:
        return f"all {config.epochs} epochs"
    if epoch - best(records).epoch >= config.patience:
        return f"no better validation value for {config.patience} epochs"
    return None
