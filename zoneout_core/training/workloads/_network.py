"""What the workloads that train a network share: groups of lanes, masks, gradients, weight noise
and penalties."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zoneout_core import kernels, regularizers
from zoneout_core.cells import Parameters
from zoneout_core.config.trial import TrialConfig
from zoneout_core.kernels import KernelChoice
from zoneout_core.masking import masks, noise
from zoneout_core.masking.masks import LayerShape, Places
from zoneout_core.network.init import InitialDraw
from zoneout_core.network.layout import Layout, Shapes
from zoneout_core.network.network import (
    DTYPES,
    Network,
    NetworkSites,
    Unrolled,
    output_product,
    product_shape,
)
from zoneout_core.regularizers import Mask
from zoneout_core.training import optim
from zoneout_core.training.lane import Lane
from zoneout_core.training.workloads import Workload

BatchMeans = dict[str, Tensor]
"""0-d tensors by name; `loss` is what the gradient is of."""


class Group(NamedTuple):
    """Lanes that one call of a kernel computes together."""

    choice: KernelChoice
    lanes: tuple[int, ...]
    """Their places among the lanes that were given."""


@dataclass(slots=True)
class Part:
    """A group's share of an update: its lanes, their parameters and what is kept with them, all [K,
    ...] views."""

    choice: KernelChoice
    lanes: list[Lane]
    p: Parameters
    kept: Parameters

    @property
    def all(self) -> Parameters:
        """Both, as a network runs on them; copies of what is kept, which may change before the
        backward pass."""
        return {**self.p, **{name: value.clone() for name, value in self.kept.items()}}


class NetworkWorkload(Workload):
    """A workload whose rows hold networks; subclasses say which, and what a lane's loss is."""

    def build(
        self, config: TrialConfig, networks: Sequence[Network], kept: Shapes, device: torch.device
    ) -> None:
        """Set up rows that hold these networks, and what else is kept with a lane."""
        self.config, self.device, self.networks = config, device, networks
        self.dtype = DTYPES[config.precision]
        trained = {name: shape for network in networks for name, shape in network.trained().items()}
        statistics = {name: shape for network in networks for name, shape in network.kept().items()}
        self.layout = Layout(trained, statistics | dict(kept))
        self._shape = product_shape(config)
        self.choice = self.choose(config)
        self.product = output_product(config, device)

    @abstractmethod
    def losses(self, part: Part) -> list[BatchMeans]:
        """What each lane of a part trains on in its coming update. Kept parts may be changed in
        place."""

    def choose(self, config: TrialConfig) -> KernelChoice:
        """Which kernel runs for a lane of this configuration: a function of it alone, never of the
        neighbours."""
        places = {mask.place for mask in config.regularizer.program()}
        return kernels.choose(
            self.networks[0].cell, config.precision, self.device, places, shape=self._shape
        )

    def groups(self, lanes: Sequence[Lane]) -> list[Group]:
        """Lanes that share the lane-native kernel together; every lane of the loop alone, with its
        own batch size."""
        together: list[int] = []
        groups: list[Group] = []
        for index, lane in enumerate(lanes):
            choice = self.choose(lane.config)
            if choice.implementation == "loop":
                groups.append(Group(choice, (index,)))
            else:
                together.append(index)
        if together:
            groups.insert(0, Group(self.choose(lanes[together[0]].config), tuple(together)))
        return groups

    def initial_row(self, config: TrialConfig, restart: int = 0) -> Tensor:
        draw = InitialDraw(config.model, config.seed, restart)
        values = {
            name: value
            for network in self.networks
            for name, value in network.initial(draw).items()
        }
        return self.layout.row(values, self.dtype)

    def gradients(
        self, lanes: Sequence[Lane], rows_KP: Tensor, gradient_KP: Tensor
    ) -> list[BatchMeans]:
        told: list[BatchMeans] = [{}] * len(lanes)
        gradient_KP.zero_()  # the gaps too: a lane that diverged leaves NaN there
        for group in self.groups(lanes):
            index = list(group.lanes)
            for k, one in zip(
                index,
                self._gradients(group, [lanes[k] for k in index], rows_KP, gradient_KP),
                strict=True,
            ):
                told[k] = one
        return told

    def _gradients(
        self, group: Group, lanes: list[Lane], rows_KP: Tensor, gradient_KP: Tensor
    ) -> list[BatchMeans]:
        """One group's gradients, and what its lanes tell."""
        rows = _select(rows_KP, group.lanes)
        noisy = any(lane.config.regularizer.weight_noise for lane in lanes)
        if noisy:
            trained = self._with_noise(lanes, rows)
        else:
            trained = rows
        # `.data`: what is kept may change before the backward pass, which must not take that for a
        # changed weight.
        part = Part(
            group.choice, lanes, self.layout.views(trained), self.layout.kept_views(rows.data)
        )
        for leaf in part.p.values():
            leaf.requires_grad_()
        self._follow_schedules(part)
        told = self.losses(part)
        losses = [one["loss"] for one in told]
        gradients: Sequence[Tensor | None] = torch.autograd.grad(
            losses, tuple(part.p.values()), allow_unused=True
        )
        for view_KX, gradient_KX in zip(
            self.layout.views(gradient_KP).values(), gradients, strict=True
        ):
            if gradient_KX is None:
                continue
            for k, gradient_X in zip(group.lanes, gradient_KX, strict=True):
                view_KX[k].copy_(gradient_X)
        if rows.data_ptr() != rows_KP[group.lanes[0]].data_ptr():
            kept_from = self.layout.trained_size
            rows_KP[list(group.lanes), kept_from:] = rows[:, kept_from:]
        return [{name: value.detach() for name, value in one.items()} for one in told]

    def _follow_schedules(self, part: Part) -> None:
        """Set what the cells schedule by the epoch."""
        for network in self.networks:
            for k, lane in enumerate(part.lanes):
                for name, value in network.schedule(lane.step // lane.updates + 1).items():
                    part.kept[name][k].fill_(value)

    def _with_noise(self, lanes: list[Lane], rows_KP: Tensor) -> Tensor:
        """Copies of the rows with each lane's own noise on its weight matrices (spec section
        9.9)."""
        noisy_KP = rows_KP.clone()
        matrices = [name for network in self.networks for name in network.matrices()]
        views = self.layout.views(noisy_KP)
        for k, lane in enumerate(lanes):
            own = [views[name][k] for name in matrices]
            noise.noise_(own, lane.config.regularizer.weight_noise, lane.config.seed, lane.step)
        return noisy_KP

    def sites(
        self,
        network: Network,
        lanes: Sequence[Lane],
        steps: int,
        batch: int,
        first_layer: int = 0,
        evaluation: int | None = None,
        programs: Sequence[tuple[Mask, ...]] = (),
        places: Places | None = None,
    ) -> NetworkSites:
        """The masks of every lane's coming update or, with `evaluation`, what stands for them
        there.

        first_layer: where the network's layers stand among all layers of the row. evaluation:
        numbers the passes, for the masks that are drawn there too. programs: the lanes' own, unless
        others are given. places: what an evaluation of a text reads, in `steps` of training.
        """
        programs = programs or [lane.config.regularizer.program() for lane in lanes]
        hidden, gates = network.cell.units(self.config.model), network.cell.GATES
        tokens = self.reads_tokens and not self.config.model.embedding_size

        def each(
            what: Callable[..., Any], layer: int, inputs: int, units: int = hidden
        ) -> list[Any]:
            shape = LayerShape(steps, batch, inputs, units, gates, first=layer == 0, places=places)
            return [
                what(
                    program,
                    shape,
                    first_layer + layer,
                    lane.config.seed,
                    lane.step if evaluation is None else evaluation,
                    self.device,
                    evaluation is not None,
                    self.dtype,
                )
                for lane, program in zip(lanes, programs, strict=True)
            ]

        reads = [
            1 if tokens and layer == 0 else inputs for layer, inputs in enumerate(network.reads)
        ]
        if self.config.model.embedding_size:
            embedding = each(masks.embedding_gain, 0, network.inputs)
        else:
            embedding = []
        return NetworkSites(
            layers=tuple(
                masks.stack(each(masks.drawn, layer, inputs)) for layer, inputs in enumerate(reads)
            ),
            embedding=masks.stack_gains(embedding),
            outputs=masks.stack_gains(each(masks.outputs_gain, len(reads) - 1, 1, network.width)),
        )

    reads_tokens = True
    """Whether the first layer reads symbols (one-hot, so that a gain on them is one number) or
    dense inputs."""

    def penalties(self, part: Part, run: Unrolled) -> list[Tensor | None]:
        """What regularizers add to each lane's loss, [B] per example, from the last layer's
        trajectory."""
        if run.trajectories is None:
            return [None] * len(part.lanes)
        names = list(self.networks[-1].cell.sizes(self.config.model))
        added: list[Tensor | None] = []
        for k, lane in enumerate(part.lanes):
            total: Tensor | None = None
            for one in lane.config.regularizer.penalties():
                value_B = one.penalty(run.trajectories[names.index(one.penalised)][k])
                if total is None:
                    total = value_B
                else:
                    total = total + value_B
            added.append(total)
        return added

    def wants_trajectories(self, part: Part) -> bool:
        """Whether a penalty looks at the carried states, so that the kernel has to keep them: what
        a network puts out may be something else, or masked."""
        return any(lane.config.regularizer.penalties() for lane in part.lanes)

    @torch.no_grad()
    def keep_statistics(self, network: Network, part: Part, run: Unrolled) -> None:
        """Move the running statistics of a normalising cell towards those of this batch (spec
        section 5)."""
        rate = network.cell.statistics_rate
        for k, found in enumerate(run.statistics):
            for name, value in found.items():
                part.kept[name][k].lerp_(value, rate)

    @torch.no_grad()
    def keep_population(self, network: Network, rows_1P: Tensor, runs: Iterable[Unrolled]) -> None:
        """Replace one lane's running statistics by the plain average over runs on training data
        (spec section 5)."""
        kept = self.layout.kept_views(rows_1P)
        totals: dict[str, Tensor] = {}
        pieces = 0
        for run in runs:
            pieces += 1
            for name, value in run.statistics[0].items():
                totals[name] = totals[name] + value if name in totals else value
        for name, total in totals.items():
            kept[name][0] = total / pieces

    def scores_by_batch(self) -> bool:
        """Whether validations take the statistics of their own batches (spec section 12, row
        25)."""
        return bool(self.networks[0].normalises and self.config.cell.batch_norm_scores == "batch")

    def population_programs(self, lanes: Sequence[Lane]) -> list[tuple[Mask, ...]]:
        """The lanes' masks while population statistics are taken: as expected, or drawn for every
        place that is read (spec section 5)."""
        programs = [lane.config.regularizer.program() for lane in lanes]
        if self.config.cell.population_masks == "sampled":
            return [regularizers.sampled(program) for program in programs]
        return programs

    def learning_rate(self, lane: Lane) -> float:
        objectives = [record.metrics[self.metrics.objective] for record in lane.records]
        return optim.scheduled(lane.config.optim, len(lane.records) + 1, objectives)


def _select(rows_KP: Tensor, lanes: tuple[int, ...]) -> Tensor:
    """The rows of these lanes: a view where they lie side by side, else a copy."""
    first, last = lanes[0], lanes[-1]
    if last - first + 1 == len(lanes):
        return rows_KP[first : last + 1]
    return rows_KP[list(lanes)]
