"""The LSTM with recurrent batch normalisation (Cooijmans et al. 2016; spec sections 5 and 11.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from zoneout_core.cells import Cell, Draw, Moment, Parameters, State, Trajectory
from zoneout_core.cells._arithmetic import project
from zoneout_core.cells._memory import SITES, candidate, gates, write
from zoneout_core.config.contracts import Surroundings
from zoneout_core.config.fields import require
from zoneout_core.config.model import ModelConfig
from zoneout_core.masking.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor

EPS = 1e-5
GAMMA = 0.1
"""The start value of every gain."""


@dataclass(frozen=True, kw_only=True)
class BatchNormLSTM(Cell):
    """Gate blocks are ordered i, f, o, g. N(v; gain) has mean 0 and deviation `gain` over the
    batch.

        pre = N(h' U; gamma_u) + N(x W; gamma_w) + b    c~ = sigmoid(f) * c' + sigmoid(i) * tanh(g)
        h~  = sigmoid(o) * tanh(N(c~; gamma_c) + beta_c)  then zoneout, as in the LSTM

    Every time step has its own statistics; gains and biases are shared over time. Training uses the
    statistics of the batch. Otherwise running statistics are used, and steps beyond the training
    length reuse the last ones: the state t counts the steps, so a sequence may be run in pieces.
    """

    STATES: ClassVar[tuple[str, ...]] = ("h", "c", "t")
    SITES: ClassVar[frozenset[str]] = SITES
    population_rate: float = 0.01
    """Share of a new batch in the running mean and variance, at each update. 0.01 for MNIST, 0.05
    for characters (spec section 5)."""
    batch_norm_scores: Literal["population", "batch"] = "population"
    """Which statistics the validation after each epoch uses. `population`: the running ones;
    `batch`: those of the batch that is scored, as the original code does (spec section 5)."""
    population_masks: Literal["expected", "sampled"] = "expected"
    """What replaces zoneout's masks while the final statistics are taken. `expected`: their
    expectation, as in an evaluation; `sampled`: drawn masks, as in training (spec section 5)."""
    batch_norm: Literal["separate", "joint"] = "separate"
    """What batch norm normalises. `separate`: the products of state and input, each by itself, as
    in the paper; `joint`: their sum (spec section 11.3)."""
    batch_norm_cell: Literal["read", "forward", "none"] = "read"
    """Where the cell is normalised. `read`: only where the state is read from it, as in the paper;
    `forward`: also where it is carried to the next step; `none`: nowhere (spec section 11.3)."""

    def __post_init__(self) -> None:
        must = "above 0 and at most 1"
        require(
            0.0 < self.population_rate <= 1.0, "cell.population_rate", self.population_rate, must
        )

    @property
    def scores_by_batch(self) -> bool:
        return self.batch_norm_scores == "batch"

    @property
    def samples_population(self) -> bool:
        return self.population_masks == "sampled"

    def check(self, trial: Surroundings) -> None:
        super().check(trial)
        require(
            trial.batch_size > 1,
            "batch_size",
            trial.batch_size,
            "at least 2 with model.cell=bn_lstm: one example has no spread",
        )
        must = (
            "none with model.cell=bn_lstm, whose statistics belong to steps counted from the start"
            " of a sequence"
        )
        require(trial.carry == "none", "carry", trial.carry, must)

    def sizes(self, model: ModelConfig) -> dict[str, int]:
        return {"h": model.hidden_size, "c": model.hidden_size, "t": 1}

    def starts(self, model: ModelConfig) -> dict[str, int]:
        return {"h": model.hidden_size, "c": model.hidden_size}

    def _normalised(self, model: ModelConfig) -> dict[str, int]:
        """The quantities that are normalised, with their widths: h' U, x W, their sum, the cell."""
        if self.batch_norm == "separate":
            products = "u_G w_G"
        else:
            products = "a_G"
        if self.batch_norm_cell == "none":
            cell = {}
        else:
            cell = {"c_H": model.hidden_size}
        return dict.fromkeys(products.split(), 4 * model.hidden_size) | cell

    def parameters(self, model: ModelConfig, inputs: int) -> dict[str, tuple[int, ...]]:
        gains = {f"gamma_{name}": (size,) for name, size in self._normalised(model).items()}
        if self.batch_norm_cell == "none":
            offset = {}
        else:
            offset = {"beta_c_H": (model.hidden_size,)}
        return super().parameters(model, inputs) | gains | offset

    def initial(self, model: ModelConfig, inputs: int, draw: Draw) -> dict[str, Tensor]:
        values = super().initial(model, inputs, draw)
        for name, shape in self.parameters(model, inputs).items():
            if name in values:
                continue
            if name.startswith("gamma"):
                values[name] = draw.full(GAMMA, *shape)
            else:
                values[name] = draw.full(0.0, *shape)
        return values

    def statistics(
        self, model: ModelConfig, steps: int
    ) -> dict[str, tuple[float, tuple[int, ...]]]:
        kept: dict[str, tuple[float, tuple[int, ...]]] = {}
        for name, size in self._normalised(model).items():
            mean, var = _names(name)
            kept |= {mean: (0.0, (steps, size)), var: (1.0, (steps, size))}
        return kept

    @property
    def statistics_rate(self) -> float:
        return self.population_rate

    def run(
        self, p: Parameters, x: Tensor, state: State, sites: Sites, *, training: bool
    ) -> Trajectory:
        if not training:
            start = int(state[2][0, 0])
            p = {
                name: _reused(value, start, len(x)) if name.startswith(KEPT) else value
                for name, value in p.items()
            }
        return super().run(p, x, state, sites, training=training)

    def project(self, p: Parameters, x: Tensor, gain: Tensor | None) -> Tensor:
        # Normalised in `step`, where it is in the cache: here it would cost passes over memory.
        return project(x, p["w_DG"], gain)

    def step(
        self, p: Parameters, a_BG: Tensor, state: State, sites: Sites, moment: Moment
    ) -> State:
        h_old, c_old, t_old = state
        if self.batch_norm == "joint":
            a_BG = normalised(
                p, "a_G", project(h_old, p["u_HG"], sites.recurrent, a_BG), moment, p["b_G"]
            )
        else:
            from_h_BG = normalised(p, "u_G", project(h_old, p["u_HG"], sites.recurrent), moment)
            a_BG = normalised(p, "w_G", a_BG, moment, p["b_G"]) + from_h_BG
        step_gates = gates(a_BG)
        cell = candidate(step_gates, c_old, sites)
        if self.batch_norm_cell == "forward":
            cell = normalised(p, "c_H", cell, moment, p["beta_c_H"])

        def read(cell: Tensor) -> Tensor:
            if self.batch_norm_cell == "read":
                cell = normalised(p, "c_H", cell, moment, p["beta_c_H"])
            return cell.tanh()

        h, c, _ = write(cell, step_gates.o, (h_old, c_old), sites, read)
        return h, c, t_old + 1


KEPT = ("mean_", "var_")


def _names(quantity: str) -> tuple[str, str]:
    """The names of the running mean and variance [T, ·] of a normalised quantity."""
    name, axis = quantity.split("_")
    return f"mean_{name}_T{axis}", f"var_{name}_T{axis}"


def _reused(statistic: Tensor, start: int, steps: int) -> Tensor:
    """The rows of `steps` steps from `start` on; the last row serves all later steps."""
    return statistic[[min(start + t, len(statistic) - 1) for t in range(steps)]]


def normalised(
    p: Parameters, quantity: str, v_BU: Tensor, moment: Moment, beta_U: Tensor | None = None
) -> Tensor:
    """(v - mean) / sqrt(var + eps) * gamma + beta over the batch. In training, mean and biased
    variance are written to `moment`."""
    from torch.nn.functional import batch_norm

    mean, var = _names(quantity)
    gamma_U = p[f"gamma_{quantity}"]
    if not moment.training:
        return batch_norm(
            v_BU, p[mean][moment.t], p[var][moment.t], gamma_U, beta_U, False, 0.0, EPS
        )
    mean_U = v_BU.new_zeros(len(gamma_U))
    var_U = v_BU.new_zeros(len(gamma_U))
    y_BU = batch_norm(v_BU, mean_U, var_U, gamma_U, beta_U, True, 1.0, EPS)
    bessel_factor = len(v_BU) / (len(v_BU) - 1)  # torch returns the unbiased variance
    moment.statistics.update({mean: mean_U, var: var_U / bessel_factor})
    return y_BU


PART = BatchNormLSTM
