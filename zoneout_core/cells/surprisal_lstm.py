"""Surprisal-driven zoneout: a unit is updated when the input was unexpected (Rocki et al. 2016;
spec section 9.15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from zoneout_core.cells import Cell, Draw, Moment, Parameters, State
from zoneout_core.cells._arithmetic import gain, project
from zoneout_core.cells._memory import SITES, gates, write
from zoneout_core.config.contracts import Surroundings
from zoneout_core.config.fields import require, require_probability
from zoneout_core.config.model import ModelConfig
from zoneout_core.errors import ConfigError
from zoneout_core.masking.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SurprisalLSTM(Cell):
    """Gate blocks are ordered i, f, o, g; here f = 1 forgets. p' is the last prediction, x the
    one-hot input:

        s   = log p'(x)                    a = x W + h' U + s v + b
        q   = min(tau + |(p' - x) Y^T|, 1)       Y: the output layer's matrix; no gradient through q
        c   = (1 - f Z) * c' + Z * i * g   h = o * tanh(c)

    Z = 1 with probability q, for each unit: where the uniform numbers at site `uniform` are at most
    q. Without such numbers Z is its expectation q.
    """

    SITES: ClassVar[frozenset[str]] = SITES | {"uniform"}
    FORGETS: ClassVar[bool] = False
    EXACT: ClassVar[bool] = False
    SYMBOLS: ClassVar[bool] = True
    tau: float = 0.2
    """Probability that a unit is updated when nothing surprises the network; surprise raises it.
    Its authors take 0.2 (spec section 9.15)."""
    surprisal_state: Literal["poster", "code"] = "poster"
    """How the state is read from the cell. `poster`: o * tanh(c); `code`: that times the update
    mask, as in the authors' code (spec section 9.15)."""

    def __post_init__(self) -> None:
        require_probability("cell.tau", self.tau)

    def check(self, trial: Surroundings) -> None:
        super().check(trial)
        for name, required in (("embedding_size", 0), ("num_layers", 1)):
            value = getattr(trial.model, name)
            must = (
                f"{required} with model.cell=surprisal_lstm, which compares the symbols with what"
                " it predicted"
            )
            require(value == required, f"model.{name}", value, must)

    def parameters(self, model: ModelConfig, inputs: int) -> dict[str, tuple[int, ...]]:
        return super().parameters(model, inputs) | {"v_G": (4 * model.hidden_size,)}

    def initial(self, model: ModelConfig, inputs: int, draw: Draw) -> dict[str, Tensor]:
        values = super().initial(model, inputs, draw)
        values["b_G"][model.hidden_size : 2 * model.hidden_size] -= model.forget_bias
        return values | {"v_G": draw.full(0.0, 4 * model.hidden_size)}

    def project(self, p: Parameters, x: Tensor, gain: Tensor | None) -> Tensor:
        if x.is_floating_point() or len(p["w_DG"]) != len(p["out_b_V"]):
            raise ConfigError(
                "model.cell must be one that can read what this task gives it, but surprisal_lstm"
                " compares the symbols it reads with those it predicted. Take a task that predicts"
                " the next symbol, or another cell."
            )
        return project(x, p["w_DG"], gain, p["b_G"])

    def step(
        self, p: Parameters, a_BG: Tensor, state: State, sites: Sites, moment: Moment
    ) -> State:
        h_old, c_old = state
        log_p_BV = (h_old @ p["out_w_HV"] + p["out_b_V"]).log_softmax(-1)
        s_B1 = log_p_BV.gather(1, moment.x.unsqueeze(1))
        i, f, o, g = gates(project(h_old, p["u_HG"], sites.recurrent, a_BG) + s_B1 * p["v_G"])
        z = self._updates(log_p_BV.detach().exp(), moment.x, p["out_w_HV"].detach(), sites.uniform)
        cell = (1 - f * z) * c_old + z * gain(sites.update, i * g)
        if self.surprisal_state == "poster":
            output_gate = o
        else:
            output_gate = z * o
        h, c, _ = write(cell, output_gate, (h_old, c_old), sites, lambda cell_BH: cell_BH.tanh())
        return h, c

    def _updates(self, p_BV: Tensor, x_B: Tensor, y_HV: Tensor, uniform: Tensor | None) -> Tensor:
        """Z of every unit, or its expectation: [B, H]."""
        difference_BH = p_BV @ y_HV.T - y_HV.T[x_B]
        q_BH = (self.tau + difference_BH.abs()).clamp(max=1.0)
        if uniform is None:
            return q_BH
        return (uniform <= q_BH).to(q_BH.dtype)


PART = SurprisalLSTM
