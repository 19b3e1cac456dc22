"""Texts, by character or by word: predict the next symbol (spec sections 2, 3, 4).

Characters are trained in shuffled chunks that begin at the initial state, and scored by the four
numbers of spec section 2.5. If `carry` is set, a text is read in B contiguous parts, and the state
is carried from chunk to chunk. Words are scored by perplexity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoneout_core.cells import Parameters
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError
from zoneout_core.kernels import KernelChoice
from zoneout_core.masking import streams
from zoneout_core.masking.places import Places
from zoneout_core.masking.program import Program, monte_carlo
from zoneout_core.network.network import Network, States, Unrolled
from zoneout_core.network.network_sites import NetworkSites
from zoneout_core.records import CHARACTERS
from zoneout_core.tasks import Corpus, get
from zoneout_core.training import batches, evaluate, one_pass
from zoneout_core.training.batches import Batches, Contiguous, cut, pad
from zoneout_core.training.evaluate import Reader, bits, perplexity
from zoneout_core.training.lane import Lane
from zoneout_core.training.one_pass import Score
from zoneout_core.training.workloads import Means
from zoneout_core.training.workloads._network import BatchMeans, GroupUpdate, NetworkWorkload

POPULATION_BATCH = 100
"""Chunks in a batch from which population statistics are taken (spec section 11.3)."""
Scored = TypeVar("Scored", float, Score)
Protocol = Callable[[Sequence[Lane], Reader], list[Scored]]
"""Scores each lane: its mean NLL in nats, or a `Score`."""


class Language(NetworkWorkload):
    """One network over a text."""

    def __init__(self, config: TrialConfig, data: Corpus, device: torch.device) -> None:
        self.metrics = get(config.task).metrics
        train = data.fraction(config.train_fraction).train
        self._train_N = _text(train, 1.0, device)
        self._valid_N, self._test_N = (
            _text(text, config.eval_fraction, device) for text in (data.valid, data.test)
        )
        shortest = min(len(self._valid_N), len(self._test_N))
        if shortest < config.sequence_length:
            raise ConfigError(
                "sequence_length must be at most the length of the valid and test texts, but is"
                f" {config.sequence_length} and the shorter one has {shortest} characters. Set it"
                " with --set sequence_length=VALUE."
            )
        symbols = len(data.vocabulary)
        self.network = Network(config, symbols, symbols, steps=self.span(config) - 1)
        self.build(config, [self.network], self._carried(config), device)
        self._batches: dict[tuple[int, str], Batches | Contiguous] = {}

    @staticmethod
    def span(config: TrialConfig) -> int:
        """Symbols of an example: T inputs and the last target."""
        return config.sequence_length + (config.carry != "none")

    def _carried(self, config: TrialConfig) -> dict[str, tuple[int, ...]]:
        if config.carry == "none":
            return {}
        sizes = self.network.cell.sizes(config.model)
        layers = range(config.model.num_layers)
        return {
            f"carry{layer}.{name}": (config.batch_size, size)
            for layer in layers
            for name, size in sizes.items()
        }

    def batches(self, config: TrialConfig) -> Batches | Contiguous:
        """The batches of a lane, which depend on its configuration alone."""
        key = (config.seed, config.offset)  # the only such settings in which lanes may differ
        if key not in self._batches:
            self._batches[key] = batches.of(config, len(self._train_N))
        return self._batches[key]

    def epoch_updates(self, config: TrialConfig) -> int:
        return self.batches(config).epoch_updates

    def losses(self, part: GroupUpdate) -> list[BatchMeans]:
        padded = [
            pad(self.batches(lane.config).starts(lane.updates), self.config.batch_size)
            for lane in part.lanes
        ]
        if part.choice.implementation == "loop":
            # The lane is alone in its group and needs no padding, except that batch statistics need
            # a second example, even one of weight zero.
            examples = max(2, int(padded[0][1].sum()))
            padded = [(starts[:examples], weight[:examples]) for starts, weight in padded]
        starts_KB = torch.stack([starts_B for starts_B, _ in padded]).to(self.device)
        weight_KB = torch.stack([weight_B for _, weight_B in padded]).to(self.device, self.dtype)
        inputs_KTB, targets_KTB = cut(self._train_N, starts_KB, self.span(self.config))
        _, steps, batch = inputs_KTB.shape
        sites = self.sites(self.network, part.lanes, steps=steps, batch=batch)
        states = self._states(part)
        run = self.network.run(
            part.all,
            inputs_KTB,
            states,
            sites,
            part.choice,
            training=True,
            trajectories=self.wants_trajectories(part),
        )
        self.keep_statistics(self.network, part, run)
        self._carry(part, run.states)
        nlls = evaluate.nll(self.network, part.p, run.outputs_KTBU, targets_KTB, self.product)
        means = []
        penalties = self.penalties(part, run)
        for nll_TB, weight_B, penalty_B in zip(nlls, weight_KB, penalties, strict=True):
            nll = (nll_TB * weight_B).sum() / (weight_B.sum() * len(nll_TB))
            loss = nll
            if self.config.loss == "sum":
                loss = nll * len(nll_TB)
            if penalty_B is not None:
                loss = loss + (penalty_B * weight_B).sum() / weight_B.sum()
            means.append({"loss": loss, "nll": nll})
        return means

    def _states(self, part: GroupUpdate) -> States:
        """The states from which the next update begins: the initial states, or those in which each
        lane's last update ended."""
        start = self.network.start(part.p)
        if self.config.carry == "none":
            return start
        rolls = self.config.carry == "roll"

        def states_of(start_K1U: Tensor, carried_KBU: Tensor) -> Tensor:
            lanes = []
            for lane, start_1U, carried_BU in zip(part.lanes, start_K1U, carried_KBU, strict=True):
                begins_epoch = lane.updates % self.epoch_updates(lane.config) == 0
                if lane.updates == 0 or (begins_epoch and not rolls):
                    lanes.append(start_1U.expand_as(carried_BU))
                elif begins_epoch:
                    lanes.append(carried_BU.roll(1, dims=0))
                else:
                    lanes.append(carried_BU.clone())
            return torch.stack(lanes)

        return tuple(
            tuple(
                states_of(state, part.kept[f"carry{layer}.{name}"])
                for name, state in zip(self._names(), states, strict=True)
            )
            for layer, states in enumerate(start)
        )

    def _names(self) -> list[str]:
        return list(self.network.cell.sizes(self.config.model))

    @torch.no_grad()
    def _carry(self, part: GroupUpdate, states: States) -> None:
        if self.config.carry == "none":
            return
        for layer, last in enumerate(states):
            for name, state_KBU in zip(self._names(), last, strict=True):
                part.kept[f"carry{layer}.{name}"].copy_(state_KBU)

    def measure(
        self, lanes: Sequence[Lane], rows_KP: Tensor, means: Sequence[Means]
    ) -> list[Means]:
        valid = self._scores(lanes, rows_KP, self._validate)
        pairs = zip(means, valid, strict=True)
        if self.metrics is CHARACTERS:
            return [
                {"train_bpc": bits(mean["nll"]), "valid_chunked_bpc": bits(value)}
                for mean, value in pairs
            ]
        return [
            {"train_perplexity": perplexity(mean["nll"]), "valid_perplexity": perplexity(value)}
            for mean, value in pairs
        ]

    def conclude(self, lanes: Sequence[Lane], rows_KP: Tensor) -> list[Means]:
        if self.network.normalises:
            rows_KP = rows_KP.clone()
            for lane, row_P in zip(lanes, rows_KP, strict=True):
                self.keep_population(
                    self.network, row_P[None], self._training_runs(lane, row_P[None])
                )
        best = [lane.best.metrics[self.metrics.objective] for lane in lanes]
        test = self._scores(lanes, rows_KP, lambda _, reader: one_pass.stream(reader, self._test_N))
        if self.metrics is CHARACTERS:
            length = self.config.sequence_length
            valid = self._scores(
                lanes, rows_KP, lambda _, reader: one_pass.stream(reader, self._valid_N)
            )
            chunked = self._scores(
                lanes, rows_KP, lambda _, reader: evaluate.chunked(reader, self._test_N, length)
            )
            columns = [
                best,
                [bits(score.nats) for score in valid],
                [bits(nats) for nats in chunked],
                [bits(score.nats) for score in test],
                [
                    bits(max(score.uncertainty for score in scores))
                    for scores in zip(valid, test, strict=True)
                ],
            ]
        else:
            mc = [
                self._monte_carlo(lane, row_P.unsqueeze(0), mean)
                for lane, row_P, mean in zip(lanes, rows_KP, test, strict=True)
            ]
            columns = [
                best,
                [perplexity(score.nats) for score in test],
                [perplexity(score.nats) for score in mc],
                [
                    max(_uncertainty(score) for score in scores)
                    for scores in zip(test, mc, strict=True)
                ],
            ]
        return [
            dict(zip(self.metrics.final, values, strict=True))
            for values in zip(*columns, strict=True)
        ]

    def _training_runs(self, lane: Lane, row_1P: Tensor) -> Iterator[Unrolled]:
        """Runs over the training text in chunks from its start, with the statistics of each batch
        and the masks of `population_programs`."""
        length = self.config.sequence_length
        p = self._parameters(row_1P)
        starts = torch.arange(0, len(self._train_N) - length + 1, length)
        for starts_B in starts.split(POPULATION_BATCH):
            inputs_KTB, _ = cut(self._train_N, starts_B.to(self.device)[None], length)
            if len(starts_B) == min(POPULATION_BATCH, len(starts)):
                sites = self.sites(
                    self.network,
                    [lane],
                    steps=length - 1,
                    batch=len(starts_B),
                    evaluation=0,
                    programs=self.population_programs([lane]),
                    places=Places.of_chunks(starts_B, length, self.device),
                )
                yield self.network.run(
                    p,
                    inputs_KTB,
                    self.network.start(p),
                    sites,
                    self.choose(lane.config),
                    training=True,
                )

    def _validate(self, lanes: Sequence[Lane], reader: Reader) -> list[float]:
        config = self.config
        reader = replace(reader, by_batch=self.scores_by_batch())
        if self.metrics is not CHARACTERS:
            return evaluate.carried(
                reader, self._valid_N, config.batch_size, config.sequence_length
            )
        if config.valid_offset == "zero":
            return evaluate.chunked(reader, self._valid_N, config.sequence_length)
        offsets = [_valid_offset(lane.config, len(lane.records) + 1) for lane in lanes]
        return evaluate.chunked(reader, self._valid_N, config.sequence_length, offsets)

    def _monte_carlo(self, lane: Lane, row_1P: Tensor, mean: Score) -> Score:
        """The score of probabilities averaged over passes with drawn masks (spec 9.7). Without
        passes it is `mean`, that of the mean network."""
        passes, program = monte_carlo(lane.config.regularizer.program())
        if not passes:
            return mean
        p = self._parameters(row_1P)
        choice = self.choose(lane.config)
        readers = [self._reader([lane], p, choice, number, [program]) for number in range(passes)]
        return one_pass.averaged(readers, self._test_N)[0]

    def _reader(
        self,
        lanes: Sequence[Lane],
        p: Parameters,
        choice: KernelChoice,
        number: int = 0,
        programs: Sequence[Program] = (),
    ) -> Reader:
        """A reader for these lanes. number: the number of the pass, for masks that are drawn in
        evaluations."""

        steps = self.span(self.config) - 1

        def sites(places: Places) -> NetworkSites:
            batch = len(places.sequences_B)
            return self.sites(
                self.network,
                lanes,
                steps=steps,
                batch=batch,
                evaluation=number,
                programs=programs,
                places=places,
            )

        return Reader(
            network=self.network,
            p=p,
            expected=sites,
            choice=choice,
            product=self.product,
        )

    def _parameters(self, rows_KP: Tensor) -> Parameters:
        return self.layout.views(rows_KP) | self.layout.kept_views(rows_KP)

    def _scores(
        self, lanes: Sequence[Lane], rows_KP: Tensor, protocol: Protocol[Scored]
    ) -> list[Scored]:
        """The scores of the lanes under a protocol, group by group."""
        scores: dict[int, Scored] = {}
        for group in self.groups(lanes):
            group_lanes = [lanes[k] for k in group.lanes]
            p = self._parameters(rows_KP[list(group.lanes)])
            reader = self._reader(group_lanes, p, group.choice)
            scores |= zip(group.lanes, protocol(group_lanes, reader), strict=True)
        return [scores[k] for k in range(len(lanes))]


def _uncertainty(score: Score) -> float:
    """The uncertainty of the score as a perplexity."""
    return perplexity(score.nats + score.uncertainty) - perplexity(score.nats)


def _valid_offset(config: TrialConfig, epoch: int) -> int:
    """The symbol at which the validation after an epoch begins, as in the original code. Negative
    counters keep its stream apart from that of training."""
    return int(
        torch.randint(
            config.sequence_length,
            (),
            generator=streams.generator(config.seed, "offset", counter=-epoch),
        )
    )


def _text(text: NDArray[np.unsignedinteger[Any]], share: float, device: torch.device) -> Tensor:
    """The first `share` of a text as a tensor of ids, of one byte each if that is enough."""
    part = text[: int(len(text) * share)]
    if part.dtype == np.uint8:
        return torch.tensor(part, device=device)
    return torch.tensor(part.astype(np.int32), device=device)


WORKLOAD = Language
