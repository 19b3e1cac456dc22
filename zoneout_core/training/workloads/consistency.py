"""Semantic consistency (spec section 7): a linear recurrence on two units that must leave its state
alone.

    h_0 = x,  h_k = d_k h_{k-1} + (1 - d_k) (h_{k-1} W),  cost = sum over B and units of (h_T - x)^2

x ~ N(0, I) is drawn for every update; d_k is a mask for each step and unit, shared by the batch.
The gradient is written out: with two units, autograd would take ten times as long as the
arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoneout_core.config.trial import TrialConfig, require
from zoneout_core.errors import ConfigError
from zoneout_core.kernels import KernelChoice, fastest_product
from zoneout_core.masking import streams
from zoneout_core.masking.mask_values import draw_
from zoneout_core.network.layout import Layout
from zoneout_core.network.network import DTYPES
from zoneout_core.records import CONSISTENCY
from zoneout_core.regularizers.zoneout import Zoneout
from zoneout_core.tasks.semantic_consistency import Recurrence
from zoneout_core.training.lane import Lane
from zoneout_core.training.workloads import Workload

UNITS = 2


class Consistency(Workload):
    """A row holds W, [2, 2], and nothing else."""

    metrics = CONSISTENCY

    def __init__(self, config: TrialConfig, data: Recurrence, device: torch.device) -> None:
        check(config)
        data.fraction(config.train_fraction)
        self.config = config
        self.data = data
        self.device = device
        self.dtype = DTYPES[config.precision]
        self.layout = Layout({"w_UU": (UNITS, UNITS)})

    def choose(self, config: TrialConfig) -> KernelChoice:
        precision = "float64" if config.precision == "float64" else "float32"
        product = fastest_product.pick(precision, self.device)
        return KernelChoice("torch", "the gradient of a linear recurrence, written out", product)

    def initial_row(self, config: TrialConfig, restart: int = 0) -> Tensor:
        noise_UU = torch.randn(
            UNITS,
            UNITS,
            generator=streams.generator(config.seed, "init", counter=restart),
            dtype=torch.float64,
        )
        w_UU = self.data.start * torch.eye(UNITS, dtype=torch.float64) + self.data.noise * noise_UU
        return self.layout.row({"w_UU": w_UU}, self.dtype)

    def epoch_updates(self, config: TrialConfig) -> int:
        check(config)
        return self.data.epoch_updates

    def gradients(
        self, lanes: Sequence[Lane], rows_KP: Tensor, gradient_KP: Tensor
    ) -> list[dict[str, Tensor]]:
        gradient_KP.zero_()
        w_KUU, gradient_KUU = (self.layout.views(rows)["w_UU"] for rows in (rows_KP, gradient_KP))
        costs = []
        for lane, w_UU, gradient_UU in zip(lanes, w_KUU, gradient_KUU, strict=True):
            cost, gradient = cost_and_gradient(w_UU, *self._draw(lane))
            gradient_UU.copy_(gradient)
            costs.append({"loss": cost})
        return costs

    def _draw(self, lane: Lane) -> tuple[Tensor, Tensor]:
        """x [B, U] and keep [T, U], True where a unit keeps its value, for the lane's next
        update."""
        config = lane.config

        def generator(purpose: streams.Purpose) -> torch.Generator:
            return streams.generator(config.seed, purpose, counter=lane.updates, device=self.device)

        x_BU = torch.randn(
            config.batch_size,
            UNITS,
            generator=generator("examples"),
            dtype=self.dtype,
            device=self.device,
        )
        keep_TU = torch.empty(config.sequence_length, UNITS, dtype=torch.bool, device=self.device)
        z_states = config.regularizer.part(Zoneout).z_states
        return x_BU, draw_(keep_TU, z_states, generator("masks_states"))

    def measure(
        self, lanes: Sequence[Lane], rows_KP: Tensor, means: Sequence[dict[str, float]]
    ) -> list[dict[str, float]]:
        return [
            {"train_cost": mean["loss"]} | self._matrix_metrics(row_P)
            for row_P, mean in zip(rows_KP, means, strict=True)
        ]

    def conclude(self, lanes: Sequence[Lane], rows_KP: Tensor) -> list[dict[str, float]]:
        return [{name: lane.best.metrics[name] for name in self.metrics.final} for lane in lanes]

    def _matrix_metrics(self, row_P: Tensor) -> dict[str, float]:
        """The entries of W, and its Frobenius distances to +I and -I."""
        w_UU = self.layout.views(row_P[None])["w_UU"][0].double()
        eye_UU = torch.eye(UNITS, dtype=torch.float64, device=w_UU.device)
        entries = {
            f"w_{i}{j}": value for i, row in enumerate(w_UU.tolist()) for j, value in enumerate(row)
        }
        distances = {"distance_plus": w_UU - eye_UU, "distance_minus": w_UU + eye_UU}
        return entries | {name: difference.norm().item() for name, difference in distances.items()}


def cost_and_gradient(w_UU: Tensor, x_BU: Tensor, keep_TU: Tensor) -> tuple[Tensor, Tensor]:
    """The cost, 0-d, and its gradient with respect to W, [U, U]."""
    # With a mask that the batch shares, a step is a matrix: M_k = diag(d_k) + W diag(1 - d_k), and
    # h_T = x M_1 ... M_T.
    eye_UU = torch.eye(len(w_UU), dtype=w_UU.dtype, device=w_UU.device)
    steps_TUU = torch.where(keep_TU.unsqueeze(1), eye_UU, w_UU)
    before = [eye_UU]  # M_1 ... M_{k-1}
    for step_UU in steps_TUU:
        before.append(before[-1] @ step_UU)
    difference_BU = x_BU @ (before.pop() - eye_UU)
    # The gradient of M_1 ... M_T, and then of this product without its last factors, step by step.
    backward_UU = 2 * (x_BU.T @ difference_BU)
    gradient_UU = torch.zeros_like(w_UU)
    for step_UU, keep_U, before_UU in zip(
        reversed(steps_TUU), reversed(keep_TU), reversed(before), strict=True
    ):
        gradient_UU += (before_UU.T @ backward_UU).masked_fill_(keep_U, 0.0)
        backward_UU = backward_UU @ step_UU.T
    return difference_BU.square().sum(), gradient_UU


def check(config: TrialConfig) -> None:
    """Raises `ConfigError` unless the configuration has two units and no regularizer except zoneout
    of states, which is all that this recurrence supports."""
    require(
        config.model.hidden_size == UNITS,
        "model.hidden_size",
        config.model.hidden_size,
        f"{UNITS} with task={config.task}",
    )
    for part in config.regularizer.active():
        if not isinstance(part, Zoneout):
            raise ConfigError(
                f"Task {config.task} must have no regularizer but zoneout of its states, but has "
                f"{type(part).__name__}. Leave its settings at their defaults."
            )
    for name in ("z_cells", "z_spread"):
        value = getattr(config.regularizer.part(Zoneout), name)
        require(
            value == 0,
            f"regularizer.zoneout.{name}",
            value,
            f"0 with task={config.task}, whose zoneout is z_states",
        )


WORKLOAD = Consistency
