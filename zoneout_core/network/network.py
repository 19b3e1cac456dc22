"""The network of every task, for K lanes at once: (embedding ->) recurrent layers -> linear (spec
sections 2.3, 3, 5).

Axes: K lanes, T time, B batch, V symbols read, E embedding, D inputs of a layer, U outputs of a
layer, C classes. Pointwise operations may span lanes; every product and every reduction is issued
per lane (docs/architecture.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoneout_core import kernels
from zoneout_core.cells import Draw, Parameters
from zoneout_core.config.trial import TrialConfig
from zoneout_core.kernels import KernelChoice, Shape, Workspace, picking
from zoneout_core.kernels.product import MatMul
from zoneout_core.masking.sites import NONE, Sites
from zoneout_core.network.layout import Shapes

States = tuple[tuple[Tensor, ...], ...]
"""The states of each layer, each [K, B, U], or [K, 1, U] where the batch shares them."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""Of weights, moments and sums, by the precision of the products."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSites:
    """Where masks enter the network. Lane axis in front, as in `Sites`; None = no mask there."""

    layers: tuple[Sites, ...]
    embedding: Tensor | None = None
    """Gain on whole word types: [K, 1, B, V]."""
    outputs: Tensor | None = None
    """Gain on what the linear layer reads: broadcasts to [K, T, B, U]."""

    def alone(self, lane: int) -> "NetworkSites":
        """Those of one lane."""

        def one(mask: Tensor | None) -> Tensor | None:
            if mask is None:
                return None
            return mask[lane : lane + 1]

        layers = tuple(sites.map(lambda mask: mask[lane : lane + 1]) for sites in self.layers)
        return NetworkSites(layers=layers, embedding=one(self.embedding), outputs=one(self.outputs))


class Unrolled(NamedTuple):
    """What a run over T steps leaves."""

    outputs_KTBU: Tensor
    states: States
    """After the last step."""
    trajectories: tuple[Tensor, ...] | None
    """The states of the last layer after every step, each [K, T, B, U], where the kernel keeps
    them."""
    statistics: list[dict[str, Tensor]]
    """Each lane's batch statistics by the names of the kept parts; empty outside training."""


class Network:
    """Shapes, initial parameters and the run of one network. Several may share a row under
    different prefixes."""

    def __init__(
        self, config: TrialConfig, inputs: int, outputs: int, prefix: str = "", steps: int = 0
    ) -> None:
        """inputs: V, or D where inputs are dense. outputs: C. steps: T of training, which running
        statistics span."""
        model = config.model
        self.config, self.inputs, self.outputs, self.prefix, self.steps = (
            config,
            inputs,
            outputs,
            prefix,
            steps,
        )
        self.cell = config.cell.chosen(model.cell)
        sizes = self.cell.sizes(model)
        self.width = next(iter(sizes.values()))
        """U, what a layer puts out."""
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
            own = self.cell.parameters(model, self.reads[layer])
            shapes |= {self._name(layer, name): shape for name, shape in own.items()}
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
        """Shapes of what is kept with the parameters but not trained, by name."""
        return {name: shape for name, (_, shape) in self._statistics().items()}

    def schedule(self, epoch: int) -> dict[str, float]:
        """Kept numbers that have this value throughout an epoch, counted from 1."""
        own = self.cell.schedule(epoch)
        return {
            self._name(layer, name): value
            for layer in self._layers()
            for name, value in own.items()
        }

    @property
    def normalises(self) -> bool:
        """Whether running statistics are among what is kept."""
        return self.cell.statistics_rate > 0

    def _statistics(self) -> dict[str, tuple[float, tuple[int, ...]]]:
        own = self.cell.statistics(self.config.model, self.steps)
        return {
            self._name(layer, name): value
            for layer in self._layers()
            for name, value in own.items()
        }

    def initial(self, draw: Draw) -> dict[str, Tensor]:
        """Values for `trained` and `kept`, in the order in which `trained` lists them."""
        model = self.config.model
        values: dict[str, Tensor] = {}
        if model.embedding_size:
            values[f"{self.prefix}embedding_VE"] = draw.matrix(self.inputs, model.embedding_size)
        for layer in self._layers():
            own = self.cell.initial(model, self.reads[layer], draw)
            values |= {self._name(layer, name): value for name, value in own.items()}
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

        def one(layer: int, name: str, size: int) -> Tensor:
            trained = p.get(self._name(layer, f"{name}0_H"))
            if trained is None:
                return like.new_zeros(len(like), 1, size)
            return trained.unsqueeze(1)

        return tuple(
            tuple(one(layer, name, size) for name, size in sizes.items())
            for layer in self._layers()
        )

    def layer(self, p: Parameters, layer: int) -> dict[str, Tensor]:
        """The parameters of one layer by the cell's own names, its running statistics, and the
        output layer's."""
        model = self.config.model
        names = [
            *self.cell.parameters(model, self.reads[layer]),
            *self.cell.statistics(model, self.steps),
        ]
        found = {name: p[self._name(layer, name)] for name in names}
        if model.forget_constant:
            found["b_G"] = found["b_G"] + self._forget_constant(found["b_G"])
        return found | {name: p[f"{self.prefix}{name}"] for name in ("out_w_HV", "out_b_V")}

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
        """T steps of all layers. x: tokens [K, T, B], or [K, T, B, D]. trajectories: keep those of
        the last layer.

        What it returns lies in workspaces that the next run overwrites, but for the last states.
        """
        if self.config.model.embedding_size:
            x = self._embed(p, x, sites.embedding)
        statistics: list[dict[str, Tensor]] = [{} for _ in range(len(x))]
        last = []
        for layer in self._layers():
            own, at, workspace = self.layer(p, layer), sites.layers[layer], self._workspaces[layer]
            keep = trajectories and layer == self._layers()[-1]
            lanes = kernels.recurrence(
                self.cell,
                own,
                x,
                states[layer],
                at,
                choice,
                workspace,
                training=training,
                trajectories=keep,
            )
            x = lanes.outputs_KTBU
            last.append(lanes.last)
            for k, found in enumerate(lanes.statistics):
                statistics[k] |= {self._name(layer, name): value for name, value in found.items()}
        if sites.outputs is not None:
            x = x * sites.outputs.to(x.dtype)
        return Unrolled(x, tuple(last), lanes.trajectories, statistics)

    def _embed(self, p: Parameters, x_KTB: Tensor, gain: Tensor | None) -> Tensor:
        lanes = zip(x_KTB, p[f"{self.prefix}embedding_VE"].unbind(), strict=True)
        e_KTBE = torch.stack(
            [torch.nn.functional.embedding(tokens_TB, table_VE) for tokens_TB, table_VE in lanes]
        )
        if gain is None:
            return e_KTBE
        gain_KTBV = gain.to(e_KTBE.dtype).expand(*x_KTB.shape, -1)
        return e_KTBE * gain_KTBV.gather(-1, x_KTB.unsqueeze(-1))

    def logits(self, p: Parameters, h_KNU: Sequence[Tensor], how: MatMul) -> list[Tensor]:
        """Of each lane, [N, C], from what the linear layer reads, [N, U]."""
        apply: Callable[..., Tensor] = _Logits.apply
        heads = (p[f"{self.prefix}out_w_HV"].unbind(), p[f"{self.prefix}out_b_V"].unbind())
        return [apply(h_NU, *head, how) for h_NU, *head in zip(h_KNU, *heads, strict=True)]


class _Logits(torch.autograd.Function):
    """One lane's output layer, h W + b: [N, U] -> [N, C]. Torch's own would not use the faster
    product."""

    @staticmethod
    def forward(ctx: Any, h_NU: Tensor, w_UC: Tensor, b_C: Tensor, how: MatMul) -> Tensor:
        ctx.save_for_backward(h_NU, w_UC)
        ctx.multiply = how.multiply
        return how.multiply(h_NU, w_UC).add_(b_C)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_NC: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        h_NU, w_UC = ctx.saved_tensors
        return ctx.multiply(d_NC, w_UC.t()), ctx.multiply(d_NC.t(), h_NU).t(), d_NC.sum(0), None


def output_product(config: TrialConfig, device: torch.device) -> MatMul:
    """How the output layer multiplies: it takes 1 % of the arithmetic of a character model, so that
    bfloat16 would gain nothing there and cost precision."""
    return picking.pick(
        "float64" if config.precision == "float64" else "float32", device, product_shape(config)
    )


def product_shape(config: TrialConfig) -> Shape:
    """Of the products of a lane's recurrence: what the shape key says, so that all lanes of a pack
    take the same."""
    cell = config.cell.chosen(config.model.cell)
    hidden = config.model.hidden_size
    return Shape(config.batch_size, hidden, cell.GATES * hidden, config.sequence_length)


def unmasked(layers: int) -> NetworkSites:
    """No masks anywhere."""
    return NetworkSites(layers=(NONE,) * layers)
