"""A row of the table of trials, where everything known about a trial is tabulated once.

`sweeps.books.trial_rows` makes rows from a journal and `analysis.load` from MLflow. The export,
MLflow, the tables of the paper, `sweep status --json` and the analysis all read them. So a number
that a task reports is one name in its `Metrics`, a number of every epoch is one field of
`EpochRecord`, and a fact of a trial is one field of `TrialFacts`.
"""

from collections.abc import Iterator

from msgspec import Struct, structs

from zoneout_core.records import EpochRecord, Metrics, Number, Placement, TrialState

Cells = dict[str, object]
"""Named columns of one line of a table."""


class TrialFacts(Struct, frozen=True, kw_only=True):
    """A column of every table of trials for each field, and a tag `zoneout.NAME` in MLflow."""

    trial: int
    seed: int
    state: TrialState
    reason: str
    """Why it ended; empty while it has not."""
    shape_key: str
    epoch: int
    """The last one trained; 0 = none."""


class TrialRow(TrialFacts, frozen=True, kw_only=True):
    """Everything known about one trial."""

    params: dict[str, object]
    """The searched hyperparameters alone, by dotted key."""
    metrics: Metrics
    """What it reports."""
    final: dict[str, Number] | None = None
    """`metrics.final` and `best_epoch`; None for a trial that did not complete."""
    records: tuple[EpochRecord, ...] = ()
    """By epoch."""
    recorded: tuple[float, ...] = ()
    """When each record came, in Unix seconds like all times here."""
    placement: Placement | None = None
    """The last one; None before any lane server took it."""
    asked: float | None = None
    started: float | None = None
    ended: float | None = None

    @property
    def best(self) -> EpochRecord | None:
        """The record with the lowest objective."""
        return self.metrics.best(self.records)

    @property
    def best_value(self) -> Number | None:
        """The lowest objective so far."""
        best = self.best
        if best is None:
            return None
        return best.metrics[self.metrics.objective]

    @property
    def last(self) -> EpochRecord | None:
        """The newest record."""
        if self.records:
            return self.records[-1]
        return None

    @property
    def seconds(self) -> float:
        """Wall time of all epochs, shared with the lanes beside them."""
        return sum(record.seconds for record in self.records)

    def facts(self) -> Cells:
        """`TrialFacts` by name."""
        return {name: getattr(self, name) for name in FACTS}

    def cells(self) -> Cells:
        """A line of a table of trials: facts, final metrics, hyperparameters."""
        known = self.facts() | (self.final or {})
        return known | {key: value for key, value in self.params.items() if key not in known}

    def epoch_cells(self) -> Iterator[Cells]:
        """A line for each epoch: `trial seed epoch`, counts, metrics."""
        for record in self.records:
            yield {
                "trial": self.trial,
                "seed": self.seed,
                "epoch": record.epoch,
                **counts(record),
                **record.metrics,
            }


def counts(record: EpochRecord) -> dict[str, Number]:
    """The numbers that every record has besides its metrics: `updates`, `seconds`."""
    return {name: getattr(record, name) for name in COUNTS}


FACTS = tuple(field.name for field in structs.fields(TrialFacts))
COUNTS = tuple(
    field.name
    for field in structs.fields(EpochRecord)
    if field.name not in ("trial", "epoch", "metrics", "final")
)
