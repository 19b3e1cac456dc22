"""A pack: trials of one shape key that train together, each as a lane whose numbers are its own.

Lanes come and go at any update and may stand at different epochs. Lane 0..K-1 are live; the slot of a lane that
leaves is filled by the last one. What a lane computes depends on its configuration and step alone, bit for bit.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite, log
from time import perf_counter

import torch
from torch import Tensor

from zoneout_core import evaluate, masks, streams
from zoneout_core.batches import Batches, cut, pad
from zoneout_core.checkpoint import LaneState
from zoneout_core.config import TrialConfig
from zoneout_core.errors import ConfigError
from zoneout_core.kernels import choose
from zoneout_core.lane import Lane, completed
from zoneout_core.model import Masks, Model
from zoneout_core.optim import adam_step
from zoneout_core.records import EPOCH_METRICS, FINAL_METRICS, OBJECTIVE, EpochRecord, LaneEnd, TrialState
from zoneout_core.tasks import Corpus

Event = EpochRecord | LaneEnd
Protocol = Callable[[Model, Mapping[str, Tensor], Masks, Tensor], list[float]]


class Pack:
    """Up to `capacity` lanes on one device, all with the shape of `config`."""

    def __init__(self, config: TrialConfig, corpus: Corpus, *, capacity: int, device: str = "cpu") -> None:
        """`corpus` is the task's whole one; the pack takes `config.fraction` of its training text.

        Raises `ConfigError` when a text is too short to evaluate on.
        """
        assert capacity >= 1, "a pack holds at least one lane"
        scored = min(len(corpus.valid), len(corpus.test))
        if scored < config.length:
            raise ConfigError(
                f"length must be at most the length of the valid and test texts, but is {config.length} "
                f"and the shorter one has {scored} characters. Set it with --set length=VALUE."
            )
        self.config = config
        self.capacity = capacity
        self.device = torch.device(device)
        self.choice = choose(config.cell.chosen(config.model.cell), config.precision, self.device)
        """Which kernel runs, and why."""
        self.model = Model(config, len(corpus.vocabulary), self.choice, self.device)
        texts = (corpus.fraction(config.fraction).train, corpus.valid, corpus.test)
        self._train_N, self._valid_N, self._test_N = (torch.tensor(text, device=self.device) for text in texts)
        shape = (capacity, self.model.layout.size)
        rows = [torch.zeros(shape, dtype=self.model.dtype, device=self.device) for _ in range(5)]
        self._weights_KP, self._m_KP, self._v_KP, self._best_KP, self._gradient_KP = rows
        self._scratch_P = torch.zeros_like(self._gradient_KP[0])
        mask_shape = (capacity, config.length - 1, config.batch, config.model.hidden)
        self._mask_cells_KTBH, self._mask_states_KTBH = (
            torch.zeros(mask_shape, dtype=torch.bool, device=self.device) for _ in range(2)
        )
        self._words = masks.words_for(self._mask_cells_KTBH[0].numel(), self.device)
        self._lanes: list[Lane] = []
        self._completed: dict[int, LaneState] = {}  # with the last step

    @property
    def trials(self) -> list[int]:
        """The trials that train here, by lane."""
        return [lane.trial for lane in self._lanes]

    def admit(self, trial: int, config: TrialConfig, state: LaneState | None = None) -> None:
        """Take a trial in, from its start or from `state`. Raises `ConfigError` when its shape key is another."""
        if config.shape_key() != self.config.shape_key():
            raise ConfigError(
                f"Lanes of a pack must share their shape key, but trial {trial} has {config.shape_key()} "
                f"and the pack {self.config.shape_key()}. Put it into a pack of its own shape."
            )
        assert trial not in self.trials, f"trial {trial} is already in the pack"
        assert len(self._lanes) < self.capacity, f"the pack is full ({self.capacity} lanes)"
        lane = Lane(trial=trial, config=config, batches=Batches(config, len(self._train_N)))
        index = len(self._lanes)
        for rows_KP in (self._m_KP, self._v_KP, self._best_KP):
            rows_KP[index] = 0.0
        if state is None:
            self._weights_KP[index] = self.model.initial_row(config.seed)
        else:
            lane.step, lane.seconds, lane.records = state.step, state.seconds, list(state.records)
            lane.loss_sum, lane.norm_sum = state.loss_sum, state.norm_sum
            self._weights_KP[index], self._m_KP[index], self._v_KP[index] = state.weights, state.m, state.v
            if state.best is not None:
                self._best_KP[index] = state.best
        self._lanes.append(lane)

    def evict(self, trial: int) -> None:
        """Let a trial go; the last lane moves into its slot."""
        index = self.trials.index(trial)
        last = self._lanes.pop()
        if last.trial != trial:
            self._lanes[index] = last
            for rows_KP in (self._weights_KP, self._m_KP, self._v_KP, self._best_KP):
                rows_KP[index] = rows_KP[len(self._lanes)]

    def state(self, trial: int) -> LaneState:
        """A copy of all that the trial's lane is, at any update; `admit` goes on from it, bit for bit.

        A trial that completed with the last `step` still has one: its weights, its best ones, all its records.
        """
        if trial in self._completed:
            return self._completed[trial]
        index = self.trials.index(trial)
        lane = self._lanes[index]
        return LaneState(
            trial=trial,
            config=lane.config,
            step=lane.step,
            weights=self._weights_KP[index].to("cpu", copy=True),
            m=self._m_KP[index].to("cpu", copy=True),
            v=self._v_KP[index].to("cpu", copy=True),
            best=self._best_KP[index].to("cpu", copy=True) if lane.records else None,
            loss_sum=lane.loss_sum,
            norm_sum=lane.norm_sum,
            seconds=lane.seconds,
            records=list(lane.records),
        )

    def step(self) -> list[Event]:
        """One update of every lane; what ended with it. Lanes that completed or failed have left the pack."""
        self._completed.clear()
        if not self._lanes:
            return []
        started = perf_counter()
        losses, norms = self._update()
        events: list[Event] = []
        for lane, loss, norm in zip(tuple(self._lanes), losses, norms, strict=True):
            lane.step += 1
            lane.loss_sum += loss
            lane.norm_sum += norm
            if not isfinite(loss):
                events.append(self._fail(lane, f"training loss is {loss}"))
            elif not isfinite(norm):
                events.append(self._fail(lane, f"gradient norm is {norm}"))
        ending = [lane for lane in self._lanes if lane.step % lane.batches.updates == 0]
        if ending:
            events += self._end_epoch(ending, started)
        elapsed = perf_counter() - started
        for lane in self._lanes:
            lane.seconds = 0.0 if lane in ending else lane.seconds + elapsed
        return events

    def _update(self) -> tuple[list[float], list[float]]:
        """Update every lane; losses in nats and gradient norms before clipping, by lane."""
        lanes = self._lanes
        padded = [pad(lane.batches.at(lane.step), self.config.batch) for lane in lanes]
        starts_KB = torch.stack([starts_B for starts_B, _ in padded]).to(self.device)
        weight_KB = torch.stack([weight_B for _, weight_B in padded]).to(self.device, self.model.dtype)
        inputs_KTB, targets_KTB = cut(self._train_N, starts_KB, self.config.length)
        gradient_KP = self._gradient_KP[: len(lanes)]
        losses = self.model.loss_and_gradient(
            self._weights_KP[: len(lanes)], gradient_KP, inputs_KTB, targets_KTB, weight_KB, self._draw_masks()
        )
        rows = zip(self._weights_KP, gradient_KP, self._m_KP, self._v_KP, strict=False)  # as far as there are lanes
        norms = [
            adam_step(*row, lane.config.optim, lane.step + 1, self._scratch_P)
            for lane, row in zip(lanes, rows, strict=False)
        ]
        values: list[float] = torch.stack(losses + norms).tolist()  # the only wait for the device in an update
        return values[: len(lanes)], values[len(lanes) :]

    def _draw_masks(self) -> Masks:
        """The masks of the coming update, from each lane's seed and step: bool [K, T, B, H], True = preserve."""
        for k, lane in enumerate(self._lanes):
            regularizer = lane.config.regularizer
            self._draw(self._mask_cells_KTBH[k], regularizer.z_cells, lane, "masks_cells")
            self._draw(self._mask_states_KTBH[k], regularizer.z_states, lane, "masks_states")
        K = len(self._lanes)
        return self._mask_cells_KTBH[:K], self._mask_states_KTBH[:K]

    def _draw(self, mask_TBH: Tensor, z: float, lane: Lane, purpose: streams.Purpose) -> None:
        generator = streams.generator(lane.config.seed, purpose, lane.step, self.device)
        masks.draw_(mask_TBH, z, generator, self._words)

    def _expected_masks(self, lanes: list[Lane]) -> Masks:
        """The probabilities that stand for the masks in an evaluation, [K, 1, 1, 1] (spec section 9.1)."""
        regularizers = [lane.config.regularizer for lane in lanes]
        z_cells, z_states = (
            torch.tensor(z, dtype=self.model.dtype, device=self.device).view(-1, 1, 1, 1)
            for z in ([r.z_cells for r in regularizers], [r.z_states for r in regularizers])
        )
        return z_cells, z_states

    def _evaluate(self, protocol: Protocol, rows_KP: Tensor, lanes: list[Lane], text_N: Tensor) -> list[float]:
        """Bits per character of these lanes, together, with the parameters they have in `rows_KP`."""
        parameters = self.model.layout.views(rows_KP[[self._lanes.index(lane) for lane in lanes]])
        return protocol(self.model, parameters, self._expected_masks(lanes), text_N)

    def _end_epoch(self, ending: list[Lane], started: float) -> list[Event]:
        """Records of the lanes whose epoch ended with this update; those that are done leave."""
        values = self._evaluate(evaluate.chunked, self._weights_KP, ending, self._valid_N)
        events: list[Event] = []
        done: dict[int, str] = {}
        for lane, value in zip(ending, values, strict=True):
            if not isfinite(value):
                events.append(self._fail(lane, f"{OBJECTIVE} is {value}"))
                continue
            updates = lane.batches.updates
            metrics = (lane.loss_sum / updates / log(2), value, lane.norm_sum / updates)
            record = EpochRecord(
                trial=lane.trial,
                epoch=lane.step // updates,
                steps=lane.step,
                metrics=dict(zip(EPOCH_METRICS, metrics, strict=True)),
                seconds=lane.seconds + perf_counter() - started,
            )
            lane.records.append(record)
            lane.loss_sum = lane.norm_sum = 0.0
            if lane.best is record:
                index = self._lanes.index(lane)
                self._best_KP[index] = self._weights_KP[index]
            if reason := completed(lane.config, lane.records):
                done[lane.trial] = reason
            else:
                events.append(record)
        if done:
            events += self._complete([lane for lane in ending if lane.trial in done], done)
        return events

    def _complete(self, lanes: list[Lane], reasons: dict[int, str]) -> list[Event]:
        """The last records of lanes that are done, with the four numbers of their best parameters; they leave."""
        columns = [
            [lane.best.metrics[OBJECTIVE] for lane in lanes],
            self._evaluate(evaluate.stream, self._best_KP, lanes, self._valid_N),
            self._evaluate(evaluate.chunked, self._best_KP, lanes, self._test_N),
            self._evaluate(evaluate.stream, self._best_KP, lanes, self._test_N),
        ]
        events: list[Event] = []
        for lane, *values in zip(lanes, *columns, strict=True):
            final = dict(zip(FINAL_METRICS, values, strict=True)) | {"best_epoch": lane.best.epoch}
            lane.records[-1] = replace(lane.records[-1], final=final)
            self._completed[lane.trial] = self.state(lane.trial)
            events.append(lane.records[-1])
            events.append(LaneEnd(trial=lane.trial, state=TrialState.COMPLETE, reason=reasons[lane.trial]))
            self.evict(lane.trial)
        return events

    def _fail(self, lane: Lane, what: str) -> LaneEnd:
        """Let a diverged lane go, after its last update; its last finite record stands."""
        epoch, update = divmod(lane.step - 1, lane.batches.updates)
        self.evict(lane.trial)
        reason = f"diverged: {what} at epoch {epoch + 1}, update {update + 1}"
        return LaneEnd(trial=lane.trial, state=TrialState.FAILED, reason=reason)
