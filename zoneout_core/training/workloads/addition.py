"""Questions and answers, symbol by symbol: an encoder-decoder with a curriculum (spec section 6).

The encoder reads the question. The decoder starts from its last states and reads GO, then the
symbols of the answer, one step behind. An epoch is 20 updates on newly drawn examples, scored by
greedy decoding.

All decisions of the curriculum follow from a lane's records, so they need not be saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from zoneout_core.cells import Parameters
from zoneout_core.config.trial import TrialConfig, require
from zoneout_core.masking import streams
from zoneout_core.masking.places import Places
from zoneout_core.network.init import InitialDraw
from zoneout_core.network.network import Network, States
from zoneout_core.network.network_sites import NetworkSites
from zoneout_core.records import CURRICULUM, EpochRecord
from zoneout_core.tasks.addition import GO, Problems, Split
from zoneout_core.training.evaluate import nll
from zoneout_core.training.lane import Lane
from zoneout_core.training.workloads import Means
from zoneout_core.training.workloads._network import BatchMeans, GroupUpdate, NetworkWorkload

UPDATES = 20
"""Updates in an epoch."""
VALID_BATCHES = 128
"""Batches to validate on, the same in every validation at a difficulty."""
EVAL_BATCH = 1024
"""Examples that are decoded at once."""
MASTERED = 0.10
"""Below this error the difficulty rises."""
LEARNING_RATE_FACTOR = 0.95
"""Factor of the learning rate whenever the error rises at the highest difficulty."""
HOPELESS = 0.85
PATIENT_EPOCHS = 17
"""A lane whose error is above `HOPELESS` this many epochs after its start is restarted."""


class Addition(NetworkWorkload):
    """Two networks: the encoder, which predicts nothing, and the decoder."""

    metrics = CURRICULUM

    def __init__(self, config: TrialConfig, data: Problems, device: torch.device) -> None:
        data.fraction(config.train_fraction)
        require(
            config.sequence_length == data.input_width,
            "sequence_length",
            config.sequence_length,
            f"{data.input_width}, the inputs' width",
        )
        require(config.carry == "none", "carry", config.carry, f"none with task={config.task}")
        self.data = data
        symbols = len(data.alphabet)
        self.encoder = Network(config, symbols, 0, prefix="encoder.", steps=data.input_width)
        self.decoder = Network(config, symbols, symbols, prefix="decoder.", steps=data.target_width)
        must = (
            f"one that keeps no running numbers with task={config.task}, whose decoder goes on from"
            " an encoder"
        )
        require(not self.encoder.kept(), "model.cell", config.model.cell, must)
        self.build(config, [self.encoder, self.decoder], {}, device)

    def initial_row(self, config: TrialConfig, restart: int = 0) -> Tensor:
        """The row of a usual network, except that the bias of the output layer is drawn like its
        weights if those are uniform."""
        draw = InitialDraw(config.model, config.seed, restart)
        values = self.encoder.initial(draw) | self.decoder.initial(draw)
        if config.model.init == "uniform":
            values["decoder.out_b_V"] = draw.matrix(1, len(self.data.alphabet))[0]
        return self.layout.row(values, self.dtype)

    def epoch_updates(self, config: TrialConfig) -> int:
        return UPDATES

    def losses(self, part: GroupUpdate) -> list[BatchMeans]:
        drawn = [
            self._examples(lane, "train", difficulty(lane, self.data), self.config.batch_size)
            for lane in part.lanes
        ]
        inputs_KTB, targets_KTB = (torch.stack(tensors) for tensors in zip(*drawn, strict=True))
        p = part.p
        # The decoder makes one step for each target. The original code makes one more, which does
        # not enter the loss.
        go_K1B = torch.full_like(targets_KTB[:, :1], self.data.alphabet.index(GO))
        read_KTB = torch.cat([go_K1B, targets_KTB[:, :-1]], dim=1)
        batch = self.config.batch_size
        encoder_sites, decoder_sites = self._sites(part.lanes, batch)
        start = self.encoder.start(p)
        encoded = self.encoder.run(p, inputs_KTB, start, encoder_sites, part.choice, training=True)
        run = self.decoder.run(
            p,
            read_KTB,
            encoded.states,
            decoder_sites,
            part.choice,
            training=True,
            trajectories=self.wants_trajectories(part),
        )
        means = []
        nlls = nll(self.decoder, p, run.outputs_KTBU, targets_KTB, self.product)
        for nll_TB, penalty_B in zip(nlls, self.penalties(part, run), strict=True):
            mean = nll_TB.mean()
            loss = mean
            if self.config.loss == "sum":
                loss = mean * len(nll_TB)
            if penalty_B is not None:
                loss = loss + penalty_B.mean()
            means.append({"loss": loss, "nll": mean})
        return means

    def _examples(
        self, lane: Lane, split: Split, difficulty: int, count: int
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets, int64 [T, count], for the lane's next update or to validate on."""
        if split == "train":
            seed = streams.stream_seed(lane.config.seed, "examples", counter=lane.updates)
        else:
            seed = streams.stream_seed(lane.config.seed, "valid_examples", counter=difficulty)
        inputs_BT, targets_BT = (
            torch.from_numpy(ids) for ids in self.data.draw(seed, difficulty, count, split)
        )
        return inputs_BT.T.to(self.device, torch.int64), targets_BT.T.to(self.device, torch.int64)

    def _sites(
        self, lanes: Sequence[Lane], batch: int, evaluation: int | None = None, first: int = 0
    ) -> tuple[NetworkSites, NetworkSites]:
        """The masks of both networks; the layers of the decoder are numbered after those of the
        encoder. first: the number of the first example, in an evaluation."""

        def sites(network: Network, steps: int, first_layer: int) -> NetworkSites:
            if evaluation is None:
                places = None
            else:
                places = Places.of_examples(first, batch, steps, self.device)
            return self.sites(
                network,
                lanes,
                steps=steps,
                batch=batch,
                first_layer=first_layer,
                evaluation=evaluation,
                places=places,
            )

        encoder = sites(self.encoder, self.data.input_width, 0)
        return encoder, sites(self.decoder, self.data.target_width, self.config.model.num_layers)

    def measure(
        self, lanes: Sequence[Lane], rows_KP: Tensor, means: Sequence[Means]
    ) -> list[Means]:
        metrics: list[Means] = []
        errors = self._errors(lanes, rows_KP)
        for lane, mean, error in zip(lanes, means, errors, strict=True):
            current_difficulty = difficulty(lane, self.data)
            metrics.append(
                {
                    "train_loss": mean["nll"],
                    "valid_error": error,
                    "difficulty": current_difficulty,
                    "valid_shortfall": self.data.last - current_difficulty + error,
                    "restarts": lane.restarts,
                }
            )
        return metrics

    def conclude(self, lanes: Sequence[Lane], rows_KP: Tensor) -> list[Means]:
        return [{name: lane.best.metrics[name] for name in self.metrics.final} for lane in lanes]

    @torch.no_grad()
    def _errors(self, lanes: Sequence[Lane], rows_KP: Tensor) -> list[float]:
        """Share of each lane's validation examples whose answer has any wrong symbol."""
        count = max(1, int(VALID_BATCHES * self.config.eval_fraction)) * self.config.batch_size
        wrong = [0] * len(lanes)
        for group in self.groups(lanes):
            index = list(group.lanes)
            part = GroupUpdate(
                group.choice, [lanes[k] for k in index], *self._views(rows_KP[index])
            )
            drawn = [
                self._examples(lane, "valid", difficulty(lane, self.data), count)
                for lane in part.lanes
            ]
            inputs_KTB, targets_KTB = (torch.stack(tensors) for tensors in zip(*drawn, strict=True))
            pieces = zip(
                inputs_KTB.split(EVAL_BATCH, dim=2),
                targets_KTB.split(EVAL_BATCH, dim=2),
                strict=True,
            )
            for piece, (inputs, targets) in enumerate(pieces):
                right_KB = (self._decode(part, inputs, piece * EVAL_BATCH) == targets).all(dim=1)
                for k, right_B in zip(index, right_KB, strict=True):
                    wrong[k] += int((~right_B).sum())
        return [lane_wrong / count for lane_wrong in wrong]

    def _views(self, rows_KP: Tensor) -> tuple[Parameters, Parameters]:
        return self.layout.views(rows_KP), self.layout.kept_views(rows_KP)

    def _decode(self, part: GroupUpdate, inputs_KTB: Tensor, first: int = 0) -> Tensor:
        """The most likely symbol at each step, which the next step reads: int64 [K, T, B], with
        expected masks. first: the number of the first example."""
        p = part.p
        batch = inputs_KTB.shape[2]
        encoder_sites, decoder_sites = self._sites(part.lanes, batch, evaluation=0, first=first)
        states: States = self.encoder.run(
            p, inputs_KTB, self.encoder.start(p), encoder_sites, part.choice, training=False
        ).states
        symbol_K1B = torch.full_like(inputs_KTB[:, :1], self.data.alphabet.index(GO))
        symbols = []
        for t in range(self.data.target_width):
            run = self.decoder.run(
                p, symbol_K1B, states, decoder_sites.of_step(t), part.choice, training=False
            )
            logits = self.decoder.logits(p, run.outputs_KTBU[:, 0].unbind(), self.product)
            symbol_K1B = torch.stack(
                [logits_BV.argmax(dim=1, keepdim=True).T for logits_BV in logits]
            )
            states = run.states
            symbols.append(symbol_K1B)
        return torch.cat(symbols, dim=1)

    def learning_rate(self, lane: Lane) -> float:
        """The configured rate, times 0.95 for every epoch at the highest difficulty whose error
        rose. A restart begins with the configured rate."""
        records = _since_restart(lane)
        rises = sum(
            after.metrics["difficulty"] == self.data.last
            and after.metrics["valid_error"] > before.metrics["valid_error"]
            for before, after in pairwise(records)
        )
        return lane.config.optim.learning_rate * LEARNING_RATE_FACTOR**rises

    def restarts(self, lane: Lane) -> bool:
        records = _since_restart(lane)
        if len(records) != PATIENT_EPOCHS:
            return False
        return records[-1].metrics["valid_error"] > HOPELESS


def difficulty(lane: Lane, data: Problems) -> int:
    """The difficulty of the examples in the lane's next epoch: it rises by one after every epoch
    that mastered it."""
    if not lane.records:
        return data.first
    last = lane.records[-1].metrics
    return min(data.last, int(last["difficulty"]) + (last["valid_error"] < MASTERED))


def _since_restart(lane: Lane) -> list[EpochRecord]:
    """Records of the epochs since the lane's parameters were last drawn."""
    return [record for record in lane.records if record.updates > lane.restarted_at]


WORKLOAD = Addition
