"""The base of all workloads that train a network: groups of lanes, masks, gradients, weight noise
and penalties."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from zoneout_core import kernels
from zoneout_core.cells import Parameters
from zoneout_core.config.trial import TrialConfig
from zoneout_core.kernels import KernelChoice
from zoneout_core.masking import drawing, noise, stacking
from zoneout_core.masking.drawing import LayerShape, MaskDraw
from zoneout_core.masking.places import Places
from zoneout_core.masking.program import Program, sampled
from zoneout_core.network.init import InitialDraw
from zoneout_core.network.layout import Layout, Shapes
from zoneout_core.network.network import DTYPES, Network, Unrolled
from zoneout_core.network.network_sites import NetworkSites
from zoneout_core.network.output_layer import output_product, product_shape
from zoneout_core.training import optim
from zoneout_core.training.lane import Lane
from zoneout_core.training.workloads import Workload

BatchMeans = dict[str, Tensor]
"""0-d tensors by name; the gradient is that of `loss`."""


class LaneGroup(NamedTuple):
    """Lanes that one call of a kernel computes together."""

    choice: KernelChoice
    lanes: tuple[int, ...]
    """Their indices in the list of lanes."""


@dataclass(slots=True)
class GroupUpdate:
    """The share of a group in an update: its lanes, with their parameters and kept numbers as views
    [K, ...]."""

    choice: KernelChoice
    lanes: list[Lane]
    p: Parameters
    kept: Parameters

    @property
    def all(self) -> Parameters:
        """Both together, for a run of the network. Kept numbers are copied, since they may change
        before the backward pass."""
        kept_copies = {name: value.clone() for name, value in self.kept.items()}
        return {**self.p, **kept_copies}


class NetworkWorkload(Workload):
    """A workload whose rows hold networks. Subclasses build them and define the loss of a lane."""

    def build(
        self, config: TrialConfig, networks: Sequence[Network], kept: Shapes, device: torch.device
    ) -> None:
        """Set up rows that hold these networks and `kept`, further numbers of a lane that are not
        trained."""
        self.config = config
        self.device = device
        self.networks = networks
        self.dtype = DTYPES[config.precision]
        trained = {name: shape for network in networks for name, shape in network.trained().items()}
        statistics = {name: shape for network in networks for name, shape in network.kept().items()}
        self.layout = Layout(trained, statistics | dict(kept))
        self._shape = product_shape(config)
        self.choice = self.choose(config)
        self.product = output_product(config, device)

    @abstractmethod
    def losses(self, part: GroupUpdate) -> list[BatchMeans]:
        """The loss of each lane's next update, and further means. Kept numbers may be changed in
        place."""

    def choose(self, config: TrialConfig) -> KernelChoice:
        """The kernel of a lane with this configuration. It depends on nothing else, and so not on
        the neighbours."""
        site_keys = {mask.site_key for mask in config.regularizer.program()}
        return kernels.choose(
            self.networks[0].cell, config.precision, self.device, site_keys, shape=self._shape
        )

    def groups(self, lanes: Sequence[Lane]) -> list[LaneGroup]:
        """One group for all lanes that run on the lane-native kernel, and a group for each lane
        that runs on the loop, since these keep their own batch sizes."""
        together: list[int] = []
        groups: list[LaneGroup] = []
        for index, lane in enumerate(lanes):
            choice = self.choose(lane.config)
            if choice.implementation == "loop":
                groups.append(LaneGroup(choice, (index,)))
            else:
                together.append(index)
        if together:
            groups.insert(0, LaneGroup(self.choose(lanes[together[0]].config), tuple(together)))
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
        means: list[BatchMeans] = [{}] * len(lanes)
        gradient_KP.zero_()  # gaps included: a lane that diverged leaves NaN there
        for group in self.groups(lanes):
            group_lanes = [lanes[k] for k in group.lanes]
            group_means = self._gradients(group, group_lanes, rows_KP, gradient_KP)
            for k, lane_means in zip(group.lanes, group_means, strict=True):
                means[k] = lane_means
        return means

    def _gradients(
        self, group: LaneGroup, lanes: list[Lane], rows_KP: Tensor, gradient_KP: Tensor
    ) -> list[BatchMeans]:
        """Fill one group's gradients; returns the means of its lanes."""
        rows = _select(rows_KP, group.lanes)
        trained = rows
        if any(lane.config.regularizer.noise_deviation for lane in lanes):
            trained = self._with_noise(lanes, rows)
        # `.data`: kept numbers may change before the backward pass, and autograd must not take that
        # for a changed weight.
        part = GroupUpdate(
            group.choice, lanes, self.layout.views(trained), self.layout.kept_views(rows.data)
        )
        for leaf in part.p.values():
            leaf.requires_grad_()
        self._follow_schedules(part)
        means = self.losses(part)
        losses = [lane_means["loss"] for lane_means in means]
        gradients: Sequence[Tensor | None] = torch.autograd.grad(
            losses, tuple(part.p.values()), allow_unused=True
        )
        views = self.layout.views(gradient_KP).values()
        for view_KX, gradient_KX in zip(views, gradients, strict=True):
            if gradient_KX is None:
                continue
            for k, gradient_X in zip(group.lanes, gradient_KX, strict=True):
                view_KX[k].copy_(gradient_X)
        if rows.data_ptr() != rows_KP[group.lanes[0]].data_ptr():
            kept_from = self.layout.trained_size
            rows_KP[list(group.lanes), kept_from:] = rows[:, kept_from:]
        return [
            {name: value.detach() for name, value in lane_means.items()} for lane_means in means
        ]

    def _follow_schedules(self, part: GroupUpdate) -> None:
        """Set the kept numbers that the cells schedule by the epoch."""
        for network in self.networks:
            for k, lane in enumerate(part.lanes):
                for name, value in network.schedule(lane.updates // lane.epoch_updates + 1).items():
                    part.kept[name][k].fill_(value)

    def _with_noise(self, lanes: list[Lane], rows_KP: Tensor) -> Tensor:
        """Copies of the rows with each lane's own noise on its weight matrices (spec section
        9.9)."""
        noisy_KP = rows_KP.clone()
        matrices = [name for network in self.networks for name in network.matrices()]
        views = self.layout.views(noisy_KP)
        for k, lane in enumerate(lanes):
            noise.noise_(
                [views[name][k] for name in matrices],
                lane.config.regularizer.noise_deviation,
                seed=lane.config.seed,
                update=lane.updates,
            )
        return noisy_KP

    def sites(
        self,
        network: Network,
        lanes: Sequence[Lane],
        *,
        steps: int,
        batch: int,
        first_layer: int = 0,
        evaluation: int | None = None,
        programs: Sequence[Program] = (),
        places: Places | None = None,
    ) -> NetworkSites:
        """The masks of every lane's next update, or of an evaluation.

        first_layer: the index of the network's first layer among all layers of the row. evaluation:
        the number of the pass over the data, for masks that are drawn there too; None: the next
        update. programs: masks to use instead of those of the lanes. places: those that an
        evaluation reads; `steps` is then the number of steps in training.
        """
        programs = programs or [lane.config.regularizer.program() for lane in lanes]
        model = self.config.model
        units = network.cell.units(model)

        def draws(layer: int, *, inputs: int, hidden: int = units) -> list[MaskDraw]:
            shape = LayerShape(
                steps=steps,
                batch=batch,
                inputs=inputs,
                hidden=hidden,
                gates=network.cell.GATES,
                first=layer == 0,
                places=places,
            )
            return [
                MaskDraw(
                    program=program,
                    shape=shape,
                    layer=first_layer + layer,
                    seed=lane.config.seed,
                    counter=lane.updates if evaluation is None else evaluation,
                    evaluation=evaluation is not None,
                    device=self.device,
                    dtype=self.dtype,
                )
                for lane, program in zip(lanes, programs, strict=True)
            ]

        layers = []
        for layer, inputs in enumerate(network.reads):
            reads_symbols = layer == 0 and self.reads_tokens and not model.embedding_size
            layer_draws = draws(layer, inputs=1 if reads_symbols else inputs)
            layers.append(stacking.stack([drawing.layer_sites(draw) for draw in layer_draws]))
        embedding = []
        if model.embedding_size:
            embedding = [drawing.embedding_gain(draw) for draw in draws(0, inputs=network.inputs)]
        last_draws = draws(len(layers) - 1, inputs=1, hidden=network.width)
        return NetworkSites(
            layers=tuple(layers),
            embedding=stacking.stack_gains(embedding),
            outputs=stacking.stack_gains([drawing.outputs_gain(draw) for draw in last_draws]),
        )

    reads_tokens = True
    """Whether the first layer reads symbols, or else dense inputs. Symbols are one-hot, so their
    gain is a single number."""

    def penalties(self, part: GroupUpdate, run: Unrolled) -> list[Tensor | None]:
        """The penalty that regularizers add to each lane's loss, [B] per example, from the last
        layer's trajectory."""
        if run.trajectories is None:
            return [None] * len(part.lanes)
        names = list(self.networks[-1].cell.sizes(self.config.model))
        totals: list[Tensor | None] = []
        for k, lane in enumerate(part.lanes):
            total_B: Tensor | None = None
            for regularizer in lane.config.regularizer.penalties():
                trajectory_KTBH = run.trajectories[names.index(regularizer.penalised)]
                penalty_B = regularizer.penalty(trajectory_KTBH[k])
                total_B = penalty_B if total_B is None else total_B + penalty_B
            totals.append(total_B)
        return totals

    def wants_trajectories(self, part: GroupUpdate) -> bool:
        """Whether a penalty needs the carried states. The kernel must then return them, since the
        network's output may be another state, or masked."""
        return any(lane.config.regularizer.penalties() for lane in part.lanes)

    @torch.no_grad()
    def keep_statistics(self, network: Network, part: GroupUpdate, run: Unrolled) -> None:
        """Move the running statistics of a normalising cell towards those of this batch (spec
        section 5)."""
        rate = network.cell.statistics_rate
        for k, statistics in enumerate(run.statistics):
            for name, value in statistics.items():
                part.kept[name][k].lerp_(value, rate)

    @torch.no_grad()
    def keep_population(self, network: Network, rows_1P: Tensor, runs: Iterable[Unrolled]) -> None:
        """Replace the running statistics of one lane by their mean over runs on training data (spec
        section 5)."""
        kept = self.layout.kept_views(rows_1P)
        totals: dict[str, Tensor] = {}
        count = 0
        for run in runs:
            count += 1
            for name, value in run.statistics[0].items():
                totals[name] = totals[name] + value if name in totals else value
        for name, total in totals.items():
            kept[name][0] = total / count

    def scores_by_batch(self) -> bool:
        """Whether a validation normalises by the statistics of its own batches (spec section 12,
        row 25)."""
        return bool(self.networks[0].normalises and self.networks[0].cell.scores_by_batch)

    def population_programs(self, lanes: Sequence[Lane]) -> list[Program]:
        """The masks of the lanes while population statistics are taken: expectations, or masks that
        are drawn for every place (spec section 5)."""
        programs = [lane.config.regularizer.program() for lane in lanes]
        if self.networks[0].cell.samples_population:
            return [sampled(program) for program in programs]
        return programs

    def learning_rate(self, lane: Lane) -> float:
        objectives = [record.metrics[self.metrics.objective] for record in lane.records]
        return optim.scheduled(lane.config.optim, len(lane.records) + 1, objectives)


def _select(rows_KP: Tensor, lanes: tuple[int, ...]) -> Tensor:
    """The rows of these lanes: a view if they are contiguous, else a copy."""
    first, last = lanes[0], lanes[-1]
    if last - first + 1 == len(lanes):
        return rows_KP[first : last + 1]
    return rows_KP[list(lanes)]
