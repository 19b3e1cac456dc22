"""The network of every task, for K lanes at once: (embedding ->) recurrent layers -> linear (spec
sections 2.3, 3, 5).

Axes: K lanes, T time, B batch, V input symbols, E embedding, D inputs of a layer, U outputs of a
layer, C classes. Pointwise operations may span lanes; every product and every reduction is issued
per lane (docs/architecture.md).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from zoneout_core import cells, kernels
from zoneout_core.cells import Draw, Parameters
from zoneout_core.config.trial import TrialConfig
from zoneout_core.kernels import KernelChoice, Workspace
from zoneout_core.kernels.product import MatMul
from zoneout_core.network import output_layer
from zoneout_core.network.layout import Shapes
from zoneout_core.network.network_sites import NetworkSites

States = tuple[tuple[Tensor, ...], ...]
"""The states of each layer, each [K, B, U], or [K, 1, U] where the batch shares them."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""The dtype of weights, moments and sums, by the precision of the products."""


class Unrolled(NamedTuple):
    """The result of a run over T steps."""

    outputs_KTBU: Tensor
    states: States
    """The states after the last step."""
    trajectories: tuple[Tensor, ...] | None
    """The states of the last layer after every step, each [K, T, B, U]; None unless asked for."""
    statistics: list[dict[str, Tensor]]
    """Each lane's batch statistics by the names of the kept parts; empty outside training."""


class Network:
    """The shapes, initial parameters and runs of a network. Several networks may share a row under
    different prefixes."""

    def __init__(
        self, config: TrialConfig, inputs: int, outputs: int, prefix: str = "", steps: int = 0
    ) -> None:
        """inputs: V, or D where inputs are dense. outputs: C. steps: the T of training, which
        running statistics cover."""
        model = config.model
        self.config = config
        self.prefix = prefix
        self.inputs = inputs
        self.outputs = outputs
        self.steps = steps
        self.cell = cells.chosen(config)
        sizes = self.cell.sizes(model)
        self.width = next(iter(sizes.values()))
        """U, the width of a layer's output."""
        self.reads = [model.embedding_size or inputs] + [self.width] * (model.num_layers - 1)
        """D of each layer."""
        self._workspaces = [Workspace() for _ in range(model.num_layers)]

    def _name(self, layer: int, name: str) -> str:
        if layer:
            return f"{self.prefix}layer{layer}.{name}"
        return f"{self.prefix}{name}"

    def _layers(self) -> range:
        return range(self.config.model.num_layers)

    def trained(self) -> Shapes:
        """Shapes of the parameters, by name."""
        model = self.config.model
        shapes: dict[str, tuple[int, ...]] = {}
        if model.embedding_size:
            shapes[f"{self.prefix}embedding_VE"] = (self.inputs, model.embedding_size)
        for layer in self._layers():
            layer_shapes = self.cell.parameters(model, self.reads[layer])
            shapes |= {self._name(layer, name): shape for name, shape in layer_shapes.items()}
        shapes |= {
            f"{self.prefix}out_w_HV": (self.width, self.outputs),
            f"{self.prefix}out_b_V": (self.outputs,),
        }
        if model.init_state == "trainable":
            for layer in self._layers():
                starts = self.cell.starts(model)
                shapes |= {
                    self._name(layer, f"{name}0_H"): (size,) for name, size in starts.items()
                }
        return shapes

    def kept(self) -> Shapes:
        """Shapes of the kept numbers, which are not trained, by name."""
        return {name: shape for name, (_, shape) in self._statistics().items()}

    def schedule(self, epoch: int) -> dict[str, float]:
        """The values that some kept numbers have throughout an epoch (from 1)."""
        scheduled = self.cell.schedule(epoch)
        return {
            self._name(layer, name): value
            for layer in self._layers()
            for name, value in scheduled.items()
        }

    @property
    def normalises(self) -> bool:
        """Whether the cell keeps running statistics."""
        return self.cell.statistics_rate > 0

    def _statistics(self) -> dict[str, tuple[float, tuple[int, ...]]]:
        statistics = self.cell.statistics(self.config.model, self.steps)
        return {
            self._name(layer, name): value
            for layer in self._layers()
            for name, value in statistics.items()
        }

    def initial(self, draw: Draw) -> dict[str, Tensor]:
        """Values for `trained` and `kept`, in the order in which `trained` lists them."""
        model = self.config.model
        values: dict[str, Tensor] = {}
        if model.embedding_size:
            values[f"{self.prefix}embedding_VE"] = draw.matrix(self.inputs, model.embedding_size)
        for layer in self._layers():
            layer_values = self.cell.initial(model, self.reads[layer], draw)
            values |= {self._name(layer, name): value for name, value in layer_values.items()}
        values[f"{self.prefix}out_w_HV"] = draw.matrix(self.width, self.outputs)
        values[f"{self.prefix}out_b_V"] = draw.bias(self.outputs)
        for name, shape in self.trained().items():
            if name not in values:
                values[name] = draw.full(0.0, *shape)
        return values | {
            name: draw.full(start, *shape) for name, (start, shape) in self._statistics().items()
        }

    def matrices(self) -> list[str]:
        """Names of the parameters that are weight matrices: neither biases nor initial states (spec
        9.9)."""
        return [name for name, shape in self.trained().items() if len(shape) == 2]

    def start(self, p: Parameters) -> States:
        """The states before the first step, each [K, 1, U]: the trainable vectors, or zeros."""
        like = p[f"{self.prefix}out_b_V"]
        sizes = self.cell.sizes(self.config.model)

        def initial_state(layer: int, name: str, size: int) -> Tensor:
            trained = p.get(self._name(layer, f"{name}0_H"))
            if trained is None:
                return like.new_zeros(len(like), 1, size)
            return trained.unsqueeze(1)

        return tuple(
            tuple(initial_state(layer, name, size) for name, size in sizes.items())
            for layer in self._layers()
        )

    def layer(self, p: Parameters, layer: int) -> dict[str, Tensor]:
        """The parameters of one layer by the names in the cell, its running statistics, and the
        parameters of the output layer."""
        model = self.config.model
        names = [
            *self.cell.parameters(model, self.reads[layer]),
            *self.cell.statistics(model, self.steps),
        ]
        layer_p = {name: p[self._name(layer, name)] for name in names}
        if model.forget_constant:
            layer_p["b_G"] = layer_p["b_G"] + self._forget_constant(layer_p["b_G"])
        return layer_p | {name: p[f"{self.prefix}{name}"] for name in ("out_w_HV", "out_b_V")}

    def _forget_constant(self, b_KG: Tensor) -> Tensor:
        hidden = self.config.model.hidden_size
        constant = torch.zeros_like(b_KG[0])
        constant[hidden : 2 * hidden] = self.config.model.forget_constant
        return constant

    def run(
        self,
        p: Parameters,
        x: Tensor,
        states: States,
        sites: NetworkSites,
        choice: KernelChoice,
        *,
        training: bool,
        trajectories: bool = False,
    ) -> Unrolled:
        """T steps of all layers. x: tokens [K, T, B], or [K, T, B, D]. trajectories: whether to
        return those of the last layer.

        The next run overwrites the results, which lie in workspaces, except the last states.
        """
        if self.config.model.embedding_size:
            x = self._embed(p, x, sites.embedding)
        statistics: list[dict[str, Tensor]] = [{} for _ in range(len(x))]
        last = []
        for layer in self._layers():
            lanes = kernels.recurrence(
                self.cell,
                self.layer(p, layer),
                x,
                states[layer],
                sites.layers[layer],
                choice,
                workspace=self._workspaces[layer],
                training=training,
                trajectories=trajectories and layer == self._layers()[-1],
            )
            x = lanes.outputs_KTBU
            last.append(lanes.last)
            for k, lane_statistics in enumerate(lanes.statistics):
                for name, value in lane_statistics.items():
                    statistics[k][self._name(layer, name)] = value
        if sites.outputs is not None:
            x = x * sites.outputs.to(x.dtype)
        return Unrolled(x, tuple(last), lanes.trajectories, statistics)

    def _embed(self, p: Parameters, x_KTB: Tensor, gain: Tensor | None) -> Tensor:
        embed = torch.nn.functional.embedding
        lanes = zip(x_KTB, p[f"{self.prefix}embedding_VE"].unbind(), strict=True)
        e_KTBE = torch.stack([embed(tokens_TB, table_VE) for tokens_TB, table_VE in lanes])
        if gain is None:
            return e_KTBE
        gain_KTBV = gain.to(e_KTBE.dtype).expand(*x_KTB.shape, -1)
        return e_KTBE * gain_KTBV.gather(-1, x_KTB.unsqueeze(-1))

    def logits(self, p: Parameters, h_KNU: Sequence[Tensor], product: MatMul) -> list[Tensor]:
        """The logits of each lane, [N, C], from the inputs of the linear layer, [N, U]."""
        w_KUC = p[f"{self.prefix}out_w_HV"]
        b_KC = p[f"{self.prefix}out_b_V"]
        return output_layer.logits(h_KNU, w_KUC, b_KC, product)
