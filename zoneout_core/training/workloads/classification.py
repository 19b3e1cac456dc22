"""Sequences with one class each, read step by step and classified by the last state (spec section
5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from zoneout_core.cells import Parameters
from zoneout_core.config.trial import TrialConfig, require
from zoneout_core.errors import ConfigError
from zoneout_core.kernels import KernelChoice
from zoneout_core.masking import streams
from zoneout_core.masking.places import Places
from zoneout_core.masking.program import Program
from zoneout_core.network.network import DTYPES, Network, Unrolled
from zoneout_core.records import CLASSES
from zoneout_core.tasks import Labelled
from zoneout_core.training.lane import Lane
from zoneout_core.training.workloads import Means
from zoneout_core.training.workloads._network import BatchMeans, GroupUpdate, NetworkWorkload

EVAL_BATCH = 500
"""Examples that are evaluated at once. RBN computed its population statistics from batches of 5000,
which take ten times the memory; variances over 500 are 0.2 % smaller."""


class Classification(NetworkWorkload):
    """One network over sequences of numbers. Every epoch shuffles the examples and leaves out those
    that do not fill a batch."""

    metrics = CLASSES
    reads_tokens = False

    def __init__(self, config: TrialConfig, data: Labelled, device: torch.device) -> None:
        steps = data.train.shape[1]
        must = f"at most {steps}, the length of the sequences"
        require(config.sequence_length <= steps, "sequence_length", config.sequence_length, must)
        require(config.carry == "none", "carry", config.carry, f"none with task={config.task}")
        require(
            config.model.embedding_size == 0,
            "model.embedding_size",
            config.model.embedding_size,
            f"0 with task={config.task}",
        )
        data = data.fraction(config.train_fraction)
        self._train = _Examples(data.train, data.train_labels, 1.0, config, device)
        self._valid = _Examples(data.valid, data.valid_labels, config.eval_fraction, config, device)
        self._test = _Examples(data.test, data.test_labels, config.eval_fraction, config, device)
        self.network = Network(config, 1, data.classes, steps=config.sequence_length)
        self.build(config, [self.network], {}, device)
        self._orders: dict[tuple[int, int], Tensor] = {}

    def epoch_updates(self, config: TrialConfig) -> int:
        updates = len(self._train) // config.batch_size
        if updates < 1:
            raise ConfigError(
                "batch_size must be at most the number of examples to train on, but is"
                f" {config.batch_size} of {len(self._train)}. Set a smaller batch_size or a larger"
                " train_fraction."
            )
        return updates

    def losses(self, part: GroupUpdate) -> list[BatchMeans]:
        batches = [self._train[self._chosen(lane)] for lane in part.lanes]
        x_KTBD = torch.stack([x_TBD for x_TBD, _ in batches])
        p = part.all
        _, steps, batch, _ = x_KTBD.shape
        sites = self.sites(self.network, part.lanes, steps=steps, batch=batch)
        run = self.network.run(
            p,
            x_KTBD,
            self.network.start(p),
            sites,
            part.choice,
            training=True,
            trajectories=self.wants_trajectories(part),
        )
        self.keep_statistics(self.network, part, run)
        means = []
        logits, penalties = self._logits(p, run), self.penalties(part, run)
        for logits_BC, (_, label_B), penalty_B in zip(logits, batches, penalties, strict=True):
            nll = torch.nn.functional.cross_entropy(logits_BC, label_B)
            loss = nll
            if penalty_B is not None:
                loss = nll + penalty_B.mean()
            wrong_B = logits_BC.detach().argmax(dim=1) != label_B
            means.append({"loss": loss, "nll": nll, "error": wrong_B.to(nll.dtype).mean()})
        return means

    def _chosen(self, lane: Lane) -> Tensor:
        """The numbers of the examples that the lane's next update trains on, [B]."""
        epoch, update = divmod(lane.updates, lane.epoch_updates)
        key = (lane.config.seed, epoch + 1)
        if key not in self._orders:
            old_keys = [old_key for old_key in self._orders if old_key[0] == lane.config.seed]
            for old_key in old_keys:
                del self._orders[old_key]
            generator = streams.generator(lane.config.seed, "shuffle", counter=epoch + 1)
            self._orders[key] = torch.randperm(len(self._train), generator=generator)
        first = update * self.config.batch_size
        return self._orders[key][first : first + self.config.batch_size]

    def _logits(self, p: Parameters, run: Unrolled) -> list[Tensor]:
        """The logits of each lane, [B, C], from the last state."""
        return self.network.logits(p, run.outputs_KTBU[:, -1].unbind(), self.product)

    def measure(
        self, lanes: Sequence[Lane], rows_KP: Tensor, means: Sequence[Means]
    ) -> list[Means]:
        errors = self._errors(lanes, rows_KP, self._valid, by_batch=self.scores_by_batch())
        return [
            {"train_loss": mean["nll"], "train_error": mean["error"], "valid_error": error}
            for mean, error in zip(means, errors, strict=True)
        ]

    def conclude(self, lanes: Sequence[Lane], rows_KP: Tensor) -> list[Means]:
        """The final metrics, with population statistics of the best parameters instead of running
        statistics (spec 5)."""
        if self.network.normalises:
            rows_KP = rows_KP.clone()
            for lane, row_P in zip(lanes, rows_KP, strict=True):
                self.keep_population(
                    self.network, row_P[None], self._training_runs(lane, row_P[None])
                )
        errors = self._errors(lanes, rows_KP, self._test)
        best = [lane.best.metrics["valid_error"] for lane in lanes]
        return [
            {"valid_error": valid, "test_error": test}
            for valid, test in zip(best, errors, strict=True)
        ]

    @torch.no_grad()
    def _errors(
        self, lanes: Sequence[Lane], rows_KP: Tensor, examples: _Examples, *, by_batch: bool = False
    ) -> list[float]:
        """Share of the examples that each lane classifies wrongly, with expected masks."""
        wrong = [0] * len(lanes)
        for group in self.groups(lanes):
            group_lanes = [lanes[k] for k in group.lanes]
            rows = rows_KP[list(group.lanes)]
            for first, x_TBD, label_B in examples.pieces():
                p, run = self._read(
                    group_lanes, rows, x_TBD, group.choice, training=by_batch, first=first
                )
                for k, logits_BC in zip(group.lanes, self._logits(p, run), strict=True):
                    wrong[k] += int((logits_BC.argmax(dim=1) != label_B).sum())
        return [count / len(examples) for count in wrong]

    def _training_runs(self, lane: Lane, rows_1P: Tensor) -> Iterator[Unrolled]:
        """Runs over all training examples, with the statistics of each batch."""
        programs = self.population_programs([lane])
        for first, x_TBD, _ in self._train.pieces(full_only=True):
            choice = self.choose(lane.config)
            _, run = self._read(
                [lane], rows_1P, x_TBD, choice, training=True, first=first, programs=programs
            )
            yield run

    def _read(
        self,
        lanes: Sequence[Lane],
        rows_KP: Tensor,
        x_TBD: Tensor,
        choice: KernelChoice,
        *,
        training: bool,
        first: int = 0,
        programs: Sequence[Program] = (),
    ) -> tuple[Parameters, Unrolled]:
        """Let all lanes read the same examples. training: use the statistics of these examples, not
        the running statistics. first: the number of the first example. programs: see `sites`."""
        p = self.layout.views(rows_KP) | self.layout.kept_views(rows_KP)
        steps, batch, _ = x_TBD.shape
        places = Places.of_examples(first, batch, steps, self.device)
        sites = self.sites(
            self.network,
            lanes,
            steps=steps,
            batch=batch,
            evaluation=0,
            programs=programs,
            places=places,
        )
        x_KTBD = x_TBD.expand(len(lanes), -1, -1, -1)
        return p, self.network.run(
            p, x_KTBD, self.network.start(p), sites, choice, training=training
        )


class _Examples:
    """The first `share` of some sequences, each cut to its first T = `config.sequence_length`
    steps."""

    def __init__(
        self,
        sequences: np.ndarray,
        labels: np.ndarray,
        share: float,
        config: TrialConfig,
        device: torch.device,
    ) -> None:
        count = max(1, int(len(sequences) * share))
        self._bytes_NT = torch.tensor(sequences[:count, : config.sequence_length], device=device)
        self._labels_N = torch.tensor(labels[:count], dtype=torch.int64, device=device)
        self._dtype = DTYPES[config.precision]

    def __len__(self) -> int:
        return len(self._labels_N)

    def __getitem__(self, index_B: Tensor) -> tuple[Tensor, Tensor]:
        """Sequences [T, B, 1], scaled to 0..1, and labels [B]."""
        index_B = index_B.to(self._labels_N.device)
        x_TB = self._bytes_NT[index_B].T.to(self._dtype) * Labelled.SCALE
        return x_TB.unsqueeze(-1), self._labels_N[index_B]

    def pieces(self, *, full_only: bool = False) -> Iterator[tuple[int, Tensor, Tensor]]:
        """All examples in order, at most `EVAL_BATCH` at once: (number of the first example,
        sequences, labels). full_only: leave out a smaller last piece, unless it is the only
        one."""
        for index_B in torch.arange(len(self)).split(EVAL_BATCH):
            if not full_only or len(index_B) in (EVAL_BATCH, len(self)):
                yield int(index_B[0]), *self[index_B]


WORKLOAD = Classification
