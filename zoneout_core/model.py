"""The network of spec section 2.3, for K lanes at once: one-hot characters, LSTM, linear layer, softmax.

A lane's parameters are one row of P numbers; `Layout` says where each lies in it. Initialising, updating, moving
and saving a lane are operations on rows. Axes: K lanes, T time, B batch, V vocabulary, H hidden, G = 4H gates.

Pointwise operations may span lanes; every product and every reduction is issued per lane (docs/architecture.md).
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoneout_core import init, kernels
from zoneout_core.cells.lstm import LSTM
from zoneout_core.config import TrialConfig
from zoneout_core.kernels import Choice, Workspace, product
from zoneout_core.kernels.product import Product
from zoneout_core.sites import Sites

State = tuple[Tensor, Tensor]
"""h and c, each [K, B, H], or [K, 1, H] where the batch shares them."""
Masks = tuple[Tensor, Tensor]
"""Of cells and states, as `kernels.recurrence` takes them: drawn in training, probabilities in an evaluation."""

ALIGNMENT = 64
"""Parameters begin at multiples of this many numbers, so that a lane's addresses are aligned alike in every slot."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""Of weights, moments and sums, by the precision of the products."""


class Layout:
    """Where the parameters of a lane lie in its row of P numbers. The gaps between them are zero and stay so."""

    def __init__(self, config: TrialConfig, vocabulary: int) -> None:
        hidden, gates = config.model.hidden, 4 * config.model.hidden
        self.shapes: dict[str, tuple[int, ...]] = {
            "w_VG": (vocabulary, gates),
            "u_HG": (hidden, gates),
            "b_G": (gates,),
            "out_w_HV": (hidden, vocabulary),
            "out_b_V": (vocabulary,),
        }
        if config.model.init_state == "trainable":
            self.shapes |= {"h0_H": (hidden,), "c0_H": (hidden,)}
        self.offsets: dict[str, int] = {}
        self.size = 0
        """P, gaps included."""
        for name, shape in self.shapes.items():
            self.offsets[name] = self.size
            self.size += -(-prod(shape) // ALIGNMENT) * ALIGNMENT

    @property
    def count(self) -> int:
        """How many parameters a lane has: 4,256,050 for H = 1000 and V = 50."""
        return sum(prod(shape) for shape in self.shapes.values())

    def views(self, rows_KP: Tensor) -> dict[str, Tensor]:
        """Each parameter of K lanes as a view [K, *shape] into their rows; each lane's part is contiguous."""
        return {
            name: rows_KP[:, self.offsets[name] : self.offsets[name] + prod(shape)].unflatten(1, shape)
            for name, shape in self.shapes.items()
        }

    def row(self, parameters: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """A row [P] with these parameters in it."""
        row_P = torch.zeros(self.size, dtype=dtype)
        for name, view_1 in self.views(row_P.unsqueeze(0)).items():
            view_1[0] = parameters[name]
        return row_P


class _Logits(torch.autograd.Function):
    """One lane's output layer, h W + b: [N, H] -> [N, V]. Torch's own would not use the faster product."""

    @staticmethod
    def forward(ctx: Any, h_NH: Tensor, w_HV: Tensor, b_V: Tensor, how: Product) -> Tensor:
        ctx.save_for_backward(h_NH, w_HV)
        ctx.multiply = how.multiply
        return how.multiply(h_NH, w_HV).add_(b_V)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_NV: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        h_NH, w_HV = ctx.saved_tensors
        return ctx.multiply(d_NV, w_HV.t()), ctx.multiply(d_NV.t(), h_NH).t(), d_NV.sum(0), None


class Model:
    """Losses and gradients of lanes that share a shape key."""

    def __init__(self, config: TrialConfig, vocabulary: int, choice: Choice, device: torch.device) -> None:
        self.config = config
        self.vocabulary = vocabulary
        self.layout = Layout(config, vocabulary)
        self.dtype = DTYPES[config.precision]
        self.choice = choice
        self.workspace = Workspace()
        # The output layer takes 1 % of the arithmetic, so that bfloat16 would gain nothing there and cost precision.
        output_precision = "float64" if config.precision == "float64" else "float32"
        self.product = product.pick(output_precision, device)

    def initial_row(self, seed: int) -> Tensor:
        """The row [P] that a lane with this seed starts from, on the CPU."""
        return self.layout.row(init.initial(self.config.model, self.vocabulary, seed), self.dtype)

    def initial_state(self, parameters: Mapping[str, Tensor]) -> State:
        """h_0 and c_0, each [K, 1, H], shared by the batch: the trainable vectors, or zeros."""
        if "h0_H" in parameters:
            return parameters["h0_H"].unsqueeze(1), parameters["c0_H"].unsqueeze(1)
        bias_KG = parameters["b_G"]
        zeros_K1H = bias_KG.new_zeros(len(bias_KG), 1, self.config.model.hidden)
        return zeros_K1H, zeros_K1H

    def nll(
        self,
        parameters: Mapping[str, Tensor],
        inputs_KTB: Tensor,
        targets_KTB: Tensor,
        state: State,
        masks: Masks,
    ) -> tuple[list[Tensor], State]:
        """Negative log likelihood in nats of every target, [T, B] for each lane, and the state after the last step."""
        p = {"w_DG": parameters["w_VG"], "u_HG": parameters["u_HG"], "b_G": parameters["b_G"]}
        sites = Sites(keep_cells=masks[0], keep_states=masks[1])
        h_KTBH, last, *_ = kernels.recurrence(LSTM(), p, inputs_KTB, state, sites, self.choice, self.workspace)
        logits: Callable[..., Tensor] = _Logits.apply
        heads = (parameters["out_w_HV"].unbind(), parameters["out_b_V"].unbind())
        nlls = []
        for h_TBH, out_w_HV, out_b_V, targets_TB in zip(h_KTBH.unbind(), *heads, targets_KTB, strict=True):
            logits_NV = logits(h_TBH.flatten(0, 1), out_w_HV, out_b_V, self.product)
            nll_N = torch.nn.functional.cross_entropy(logits_NV, targets_TB.flatten(), reduction="none")
            nlls.append(nll_N.view_as(targets_TB))
        return nlls, (last[0], last[1])

    def loss_and_gradient(
        self,
        rows_KP: Tensor,
        gradient_KP: Tensor,
        inputs_KTB: Tensor,
        targets_KTB: Tensor,
        weight_KB: Tensor,
        masks: Masks,
    ) -> list[Tensor]:
        """Each lane's loss, 0-d, the weighted mean NLL in nats of its targets; its gradient fills `gradient_KP`."""
        parameters = self.layout.views(rows_KP)
        for leaf in parameters.values():
            leaf.requires_grad_()
        nlls, _ = self.nll(parameters, inputs_KTB, targets_KTB, self.initial_state(parameters), masks)
        losses = [
            (nll_TB * weight_B).sum() / (weight_B.sum() * len(nll_TB))
            for nll_TB, weight_B in zip(nlls, weight_KB, strict=True)
        ]
        gradient_KP.zero_()  # the gaps too: a lane that diverged leaves NaN there
        gradients = torch.autograd.grad(losses, tuple(parameters.values()))
        for view, gradient in zip(self.layout.views(gradient_KP).values(), gradients, strict=True):
            view.copy_(gradient)
        return [loss.detach() for loss in losses]
