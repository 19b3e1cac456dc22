"""A pack: trials of one shape key that train together, each as a lane with its own numbers.

Lanes come and go at any update and may be in different epochs. Lanes 0..K-1 are live; when a lane
leaves, the last one moves into its slot. The numbers of a lane depend only on its configuration and
updates, bit for bit. Their meaning, training and scores belong to the workload
(`zoneout_core.training.workloads`).
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from time import perf_counter
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor

from zoneout_core import tasks
from zoneout_core.config import parts
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import CheckpointError, ConfigError
from zoneout_core.kernels import KernelChoice
from zoneout_core.records import DIVERGED, EpochRecord, LaneEnd, TrialState
from zoneout_core.training import optim, workloads
from zoneout_core.training.lane import Lane, completed
from zoneout_core.training.lane_state import LaneState

PackEvent = EpochRecord | LaneEnd
NORM = "grad_norm"


class Pack:
    """Up to `capacity` lanes on one device, all with the shape of `config`."""

    def __init__(
        self, config: TrialConfig, data: Any, *, capacity: int, device: str = "cpu"
    ) -> None:
        """data: the result of `tasks.load_data`. Raises `ConfigError` when it does not suit
        `config`, and `PluginError` when the file of a regularizer is broken."""
        assert capacity >= 1, "a pack holds at least one lane"
        parts.require_regularizers()
        self.config = config
        self.capacity = capacity
        self.device = torch.device(device)
        self.workload = workloads.get(tasks.get(config.task).workload)(config, data, self.device)
        self.layout = self.workload.layout
        self.metrics = self.workload.metrics
        shape = (capacity, self.layout.size)
        rows = [torch.zeros(shape, dtype=self.workload.dtype, device=self.device) for _ in range(5)]
        self._weights_KP, self._m_KP, self._v_KP, self._best_KP, self._gradient_KP = rows
        self._scratch_P = torch.zeros_like(self._gradient_KP[0, : self.layout.trained_size])
        self._lanes: list[Lane] = []
        self._completed: dict[int, LaneState] = {}  # with the last update

    @property
    def trials(self) -> list[int]:
        """The trials that train here, by lane."""
        return [lane.trial for lane in self._lanes]

    def choice(self, config: TrialConfig) -> KernelChoice:
        """The kernel of a trial with this configuration, and the reason."""
        return self.workload.choose(config)

    def admit(self, trial: int, config: TrialConfig, state: LaneState | None = None) -> None:
        """Add a trial, from its start or from `state`.

        Raises `ConfigError` when its shape key differs from the pack's, and `CheckpointError` as
        `check` does.
        """
        if config.shape_key() != self.config.shape_key():
            raise ConfigError(
                f"Lanes of a pack must share their shape key, but trial {trial} has"
                f" {config.shape_key()} and the pack {self.config.shape_key()}. Put it into a pack"
                " of its own shape."
            )
        assert trial not in self.trials, f"trial {trial} is already in the pack"
        assert len(self._lanes) < self.capacity, f"the pack is full ({self.capacity} lanes)"
        if state is not None:
            self.check(state, trial, config)
        lane = Lane(trial=trial, config=config, epoch_updates=self.workload.epoch_updates(config))
        index = len(self._lanes)
        for rows_KP in (self._m_KP, self._v_KP, self._best_KP):
            rows_KP[index] = 0.0
        if state is None:
            self._weights_KP[index] = self.workload.initial_row(config)
        else:
            lane.updates = state.updates
            lane.restarted_at = state.restarted_at
            lane.restarts = state.restarts
            lane.sums = dict(state.sums)
            lane.seconds = state.seconds
            lane.records = list(state.records)
            self._weights_KP[index] = state.weights
            self._m_KP[index] = state.m
            self._v_KP[index] = state.v
            if state.best is not None:
                self._best_KP[index] = state.best
        self._lanes.append(lane)

    def check(self, state: LaneState, trial: int, config: TrialConfig) -> None:
        """Raises `CheckpointError` unless this trial can continue from `state`: trial and
        configuration are the same, and the rows fit."""
        if state.trial != trial or state.config != config:
            differences = [
                key for key, value in config.flat().items() if state.config.value(key) != value
            ]
            owner = f"trial {state.trial}"
            if differences:
                owner += f" with another {', '.join(differences)}"
            raise CheckpointError(
                f"The checkpoint of trial {trial} must be of its own configuration, but is of"
                f" {owner}."
            )
        dtype, shape = self.workload.dtype, (self.layout.size,)
        for row_P in (state.weights, state.m, state.v, state.best):
            if row_P is None or (row_P.dtype == dtype and row_P.shape == shape):
                continue
            raise CheckpointError(
                f"The rows of the checkpoint of trial {trial} must be {dtype} of shape {shape}, but"
                f" one is {row_P.dtype} of shape {tuple(row_P.shape)}: another version of this"
                " program wrote it."
            )

    def evict(self, trial: int) -> None:
        """Remove a trial; the last lane moves into its slot."""
        index = self.trials.index(trial)
        last = self._lanes.pop()
        if last.trial != trial:
            self._lanes[index] = last
            for rows_KP in (self._weights_KP, self._m_KP, self._v_KP, self._best_KP):
                rows_KP[index] = rows_KP[len(self._lanes)]

    def state(self, trial: int) -> LaneState:
        """A copy of the complete state of the trial's lane, after any update; `admit` continues
        from it, bit for bit.

        A trial that completed with the last `update` still has a state: its weights, its best
        weights and all its records.
        """
        if trial in self._completed:
            return self._completed[trial]
        index = self.trials.index(trial)
        lane = self._lanes[index]
        return LaneState(
            trial=trial,
            config=lane.config,
            updates=lane.updates,
            weights=self._weights_KP[index].to("cpu", copy=True),
            m=self._m_KP[index].to("cpu", copy=True),
            v=self._v_KP[index].to("cpu", copy=True),
            best=self._best_KP[index].to("cpu", copy=True) if lane.records else None,
            restarted_at=lane.restarted_at,
            restarts=lane.restarts,
            sums=dict(lane.sums),
            seconds=lane.seconds,
            records=list(lane.records),
        )

    def update(self) -> list[PackEvent]:
        """Update every lane once; returns the records of epochs that ended, and the ends of lanes.
        Lanes that completed or failed have left the pack."""
        self._completed.clear()
        if not self._lanes:
            return []
        started = perf_counter()
        events: list[PackEvent] = []
        for lane, means in zip(tuple(self._lanes), self._update_rows(), strict=True):
            lane.updates += 1
            for name, value in means.items():
                lane.sums[name] = lane.sums.get(name, 0.0) + value
            if not isfinite(means["loss"]):
                events.append(self._fail(lane, f"training loss is {means['loss']}"))
            elif not isfinite(means[NORM]):
                events.append(self._fail(lane, f"gradient norm is {means[NORM]}"))
        ending = [lane for lane in self._lanes if lane.updates % lane.epoch_updates == 0]
        if ending:
            events += self._end_epoch(ending, started)
        elapsed = perf_counter() - started
        for lane in self._lanes:
            lane.seconds += elapsed
        for lane in ending:
            lane.seconds = 0.0
        return events

    def _update_rows(self) -> list[dict[str, float]]:
        """Update the rows of every lane; returns each lane's means over the batch, and the norm of
        its gradient before clipping."""
        lanes = self._lanes
        gradient_KP = self._gradient_KP[: len(lanes)]
        means = self.workload.gradients(lanes, self._weights_KP[: len(lanes)], gradient_KP)
        trained = self.layout.trained_size
        # The rows of live lanes come first.
        rows = zip(self._weights_KP, gradient_KP, self._m_KP, self._v_KP, strict=False)
        for lane, lane_means, row in zip(lanes, means, rows, strict=False):
            weights_P, gradient_P, m_P, v_P = (part_P[:trained] for part_P in row)
            rate = self.workload.learning_rate(lane)
            number = lane.updates + 1 - lane.restarted_at
            lane_means[NORM] = optim.update(
                weights_P, gradient_P, m_P, v_P, lane.config.optim, number, self._scratch_P, rate
            )
        # The only wait for the device in an update.
        tensors = [value for lane_means in means for value in lane_means.values()]
        values = iter(torch.stack(tensors).tolist())
        return [{name: next(values) for name in lane_means} for lane_means in means]

    def _rows(self, rows_KP: Tensor, lanes: Sequence[Lane]) -> Tensor:
        return rows_KP[[self._lanes.index(lane) for lane in lanes]]

    def _end_epoch(self, ending: list[Lane], started: float) -> list[PackEvent]:
        """The records of the lanes whose epoch ended with this update. Lanes that are done
        leave."""
        means = [
            {name: total / lane.epoch_updates for name, total in lane.sums.items()}
            for lane in ending
        ]
        measured = self.workload.measure(ending, self._rows(self._weights_KP, ending), means)
        events: list[PackEvent] = []
        done: dict[int, str] = {}
        for lane, mean, quantities in zip(ending, means, measured, strict=True):
            quantities |= {NORM: mean[NORM], "learning_rate": self.workload.learning_rate(lane)}
            metrics = {name: quantities[name] for name in self.metrics.epoch}
            if symptom := _not_finite(metrics):
                events.append(self._fail(lane, symptom))
                continue
            record = EpochRecord(
                trial=lane.trial,
                epoch=lane.updates // lane.epoch_updates,
                updates=lane.updates,
                metrics=metrics,
                seconds=lane.seconds + perf_counter() - started,
            )
            lane.records.append(record)
            lane.sums = {}
            if lane.best is record:
                index = self._lanes.index(lane)
                self._best_KP[index] = self._weights_KP[index]
            if reason := completed(lane.config, lane.records):
                done[lane.trial] = reason
            else:
                events.append(record)
                if self.workload.restarts(lane):
                    self._restart(lane)
        if done:
            events += self._complete([lane for lane in ending if lane.trial in done], done)
        return events

    def _restart(self, lane: Lane) -> None:
        """Start again from other initial parameters and fresh moments; records and the best
        parameters stay."""
        lane.restarted_at = lane.updates
        lane.restarts += 1
        index = self._lanes.index(lane)
        self._weights_KP[index] = self.workload.initial_row(lane.config, lane.restarts)
        self._m_KP[index] = self._v_KP[index] = 0.0

    def _complete(self, lanes: list[Lane], reasons: dict[int, str]) -> list[PackEvent]:
        """The last records of lanes that are done, with the final metrics of their best parameters,
        and the ends of the lanes, which leave.

        A lane with a final metric that is not finite has diverged: its last record stays, without
        final metrics.
        """
        finals = self.workload.conclude(lanes, self._rows(self._best_KP, lanes))
        events: list[PackEvent] = []
        for lane, final in zip(lanes, finals, strict=True):
            symptom = _not_finite(final)
            if symptom:
                end = LaneEnd(
                    trial=lane.trial, state=TrialState.FAILED, reason=f"{DIVERGED}: {symptom}"
                )
            else:
                lane.records[-1] = replace(
                    lane.records[-1], final=final | {"best_epoch": lane.best.epoch}
                )
                self._completed[lane.trial] = self.state(lane.trial)
                end = LaneEnd(
                    trial=lane.trial, state=TrialState.COMPLETE, reason=reasons[lane.trial]
                )
            events += [lane.records[-1], end]
            self.evict(lane.trial)
        return events

    def _fail(self, lane: Lane, symptom: str) -> LaneEnd:
        """Remove a lane that diverged with this update; its last finite record stays."""
        epoch, update = divmod(lane.updates - 1, lane.epoch_updates)
        self.evict(lane.trial)
        reason = f"{DIVERGED}: {symptom} at epoch {epoch + 1}, update {update + 1}"
        return LaneEnd(trial=lane.trial, state=TrialState.FAILED, reason=reason)


def _not_finite(metrics: Mapping[str, float]) -> str:
    """The first metric that is not finite, in words; empty if all are."""
    for name, value in metrics.items():
        if not isfinite(value):
            return f"{name} is {value}"
    return ""
