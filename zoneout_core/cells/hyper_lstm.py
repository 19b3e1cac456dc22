"""The HyperLSTM: a small LSTM scales the products of a large one at every step (Ha et al. 2016;
spec 11.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from zoneout_core.cells import Cell, Draw, Moment, Parameters, State
from zoneout_core.cells._arithmetic import project
from zoneout_core.cells._memory import SITES, Gates, candidate, gates, write
from zoneout_core.cells._norm import layer_norm
from zoneout_core.config.fields import require
from zoneout_core.config.model import ModelConfig
from zoneout_core.masking.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class HyperLSTM(Cell):
    """Gate blocks are ordered i, f, o, g. The hyper LSTM has Q units, reads [h'; x], and sends N
    numbers to each gate:

        z_h = q A_h + a_h      z_x = q A_x + a_x      z_b = q A_b          q: the hyper LSTM's state
        pre = L((z_h B_h) * (h' U) + (z_x B_x) * (x W) + z_b B_b + b_0)   L: layer norm of each gate
        c~  = f * c' + i * g         h~ = o * tanh(L(c~))         and likewise within the hyper LSTM

    Masks act on the large LSTM. Those on x and h' also act where the small LSTM reads them.
    """

    STATES: ClassVar[tuple[str, ...]] = ("h", "c", "hyper_h", "hyper_c")
    SITES: ClassVar[frozenset[str]] = SITES
    hyper_hidden: int = 128
    """Units of the small LSTM that scales the weights of the large one (spec section 11.4)."""
    hyper_embedding: int = 4
    """How many numbers the small LSTM sends to each gate of the large one (N_z in its paper); spec
    section 11.4."""
    hyper_norm: bool = True
    """Whether both LSTMs have layer norm (spec section 11.4)."""
    hyper_read: Literal["now", "before"] = "now"
    """Which state of the small LSTM scales the weights. `now`: the one after this step, as in its
    authors' code; `before`: the one before it, as printed (spec section 11.4)."""

    def __post_init__(self) -> None:
        for name in ("hyper_hidden", "hyper_embedding"):
            require(getattr(self, name) >= 1, f"cell.{name}", getattr(self, name), "at least 1")

    def sizes(self, model: ModelConfig) -> dict[str, int]:
        return {
            "h": model.hidden_size,
            "c": model.hidden_size,
            "hyper_h": self.hyper_hidden,
            "hyper_c": self.hyper_hidden,
        }

    def parameters(self, model: ModelConfig, inputs: int) -> dict[str, tuple[int, ...]]:
        hidden, hyper, numbers = model.hidden_size, self.hyper_hidden, self.hyper_embedding
        small = {
            "hyper_w_XG": (hidden + inputs, 4 * hyper),
            "hyper_u_QG": (hyper, 4 * hyper),
            "hyper_b_G": (4 * hyper,),
            "speak_w_QN": (hyper, 12 * numbers),
            "speak_b_N": (8 * numbers,),
            "scale_PNH": (12, numbers, hidden),
        }
        norms = self._norms(model) if self.hyper_norm else {}
        return super().parameters(model, inputs) | small | norms

    def _norms(self, model: ModelConfig) -> dict[str, tuple[int, ...]]:
        hidden, hyper = model.hidden_size, self.hyper_hidden
        shapes: dict[str, tuple[int, ...]] = {"b0_G": (4 * hidden,), "gain_G": (4 * hidden,)}
        shapes |= {"gain_c_H": (hidden,), "shift_c_H": (hidden,), "hyper_gain_G": (4 * hyper,)}
        return shapes | {"hyper_gain_c_Q": (hyper,), "hyper_shift_c_Q": (hyper,)}

    def initial(self, model: ModelConfig, inputs: int, draw: Draw) -> dict[str, Tensor]:
        import torch

        hidden, hyper, numbers = model.hidden_size, self.hyper_hidden, self.hyper_embedding
        values = super().initial(model, inputs, draw)
        values["hyper_w_XG"] = draw.matrix(hidden + inputs, 4 * hyper)
        values["hyper_u_QG"] = draw.matrix(hyper, 4 * hyper)
        values["hyper_b_G"] = draw.full(0.0, 4 * hyper)
        values["hyper_b_G"][hyper : 2 * hyper] += model.forget_bias
        # The scales of both products start at 0.1 everywhere, and the moving bias at 0.
        zeros = draw.full(0.0, hyper, 8 * numbers)
        values["speak_w_QN"] = torch.cat([zeros, draw.normal(0.01, hyper, 4 * numbers)], dim=1)
        values["speak_b_N"] = draw.full(1.0, 8 * numbers)
        scales = (draw.full(0.1 / numbers, 8, numbers, hidden), draw.full(0.0, 4, numbers, hidden))
        values["scale_PNH"] = torch.cat(scales)
        if self.hyper_norm:
            values |= {
                name: draw.full(float("gain" in name), *shape)
                for name, shape in self._norms(model).items()
            }
        return values

    def unpack(self, p: Parameters) -> Parameters:
        w_XG = p["hyper_w_XG"]
        hidden = len(p["u_HG"])
        from_h, from_x = w_XG.split([hidden, len(w_XG) - hidden])
        return {**p, "hyper_from_h": from_h, "hyper_from_x": from_x}

    def project(self, p: Parameters, x: Tensor, gain: Tensor | None) -> Tensor:
        import torch

        return torch.cat(
            [project(x, w_DG, gain) for w_DG in (p["w_DG"], p["hyper_from_x"])], dim=-1
        )

    def step(
        self, p: Parameters, a_BG: Tensor, state: State, sites: Sites, moment: Moment
    ) -> State:
        h_old, c_old, q_old, hyper_c_old = state
        hidden, hyper = h_old.shape[-1], q_old.shape[-1]
        a_x, a_hyper = a_BG.split([4 * hidden, 4 * hyper], dim=-1)
        a_hyper = project(
            h_old,
            p["hyper_from_h"],
            sites.recurrent,
            project(q_old, p["hyper_u_QG"], None, a_hyper),
        )
        hyper_gates = self._gates(p, a_hyper, "hyper_gain_G", "hyper_b_G")
        hyper_c = hyper_gates.f * hyper_c_old + hyper_gates.i * hyper_gates.g
        q = hyper_gates.o * self._read(p, hyper_c, "hyper_gain_c_Q", "hyper_shift_c_Q")
        scale_h, scale_x, offset = self._scales(p, q if self.hyper_read == "now" else q_old)
        a = scale_h * project(h_old, p["u_HG"], sites.recurrent) + scale_x * a_x + offset
        if self.hyper_norm:
            a = a + p["b0_G"]
        step_gates = self._gates(p, a, "gain_G", "b_G")

        def read(cell_BH: Tensor) -> Tensor:
            return self._read(p, cell_BH, "gain_c_H", "shift_c_H")

        h, c, _ = write(
            candidate(step_gates, c_old, sites), step_gates.o, (h_old, c_old), sites, read
        )
        return h, c, q, hyper_c

    def _scales(self, p: Parameters, q_BQ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The factors of h' U and of x W in the gates, and the moving bias, each [B, G]."""
        import torch

        numbers = len(p["speak_b_N"]) // 8
        z_hx, z_b = (q_BQ @ p["speak_w_QN"]).split([8 * numbers, 4 * numbers], dim=-1)
        z_PBN = (
            torch.cat([z_hx + p["speak_b_N"], z_b], dim=-1)
            .unflatten(-1, (12, numbers))
            .transpose(0, 1)
        )
        d_BPH = (z_PBN @ p["scale_PNH"]).transpose(0, 1)
        scale_h, scale_x, offset = (part.flatten(-2) for part in d_BPH.chunk(3, dim=1))
        return scale_h, scale_x, offset

    def _gates(self, p: Parameters, a_BG: Tensor, gain: str, shift: str) -> Gates:
        if self.hyper_norm:
            return gates(layer_norm(a_BG, p[gain], p[shift], blocks=4))
        return gates(a_BG + p[shift])

    def _read(self, p: Parameters, cell: Tensor, gain: str, shift: str) -> Tensor:
        if self.hyper_norm:
            return layer_norm(cell, p[gain], p[shift]).tanh()
        return cell.tanh()


PART = HyperLSTM
