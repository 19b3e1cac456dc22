"""The HM-LSTM: three stacked LSTMs that find the boundaries of segments (Chung et al. 2016; spec
section 11.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, cast

from zoneout_core.cells import Cell, Draw, Moment, Parameters, State
from zoneout_core.cells._arithmetic import gain, mix, project
from zoneout_core.cells._memory import SITES, gates
from zoneout_core.cells._norm import layer_norm
from zoneout_core.config.contracts import Surroundings
from zoneout_core.config.fields import require
from zoneout_core.config.model import ModelConfig
from zoneout_core.masking.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor

LAYERS = 3
SLOPE_MAX = 5.0


class Layer(NamedTuple):
    """The states of one layer."""

    h: Tensor
    c: Tensor
    z: Tensor | float
    """1 where the layer ended a segment, [B, 1]; 0 for the third layer, which never does."""


@dataclass(frozen=True, kw_only=True)
class HMLSTM(Cell):
    """Gate blocks are ordered i, f, o, g; one more number is for the boundary. A prime marks the
    previous step. In layer l:

        a = h'_l U_l + z'_l (h'_{l+1} V_l) + z_{l-1} (h_{l-1} W_l) + b_l    gates through layer norm
        FLUSH if z'_l:                c = i * g                  otherwise
        COPY if not z_{l-1}:          c = c', h = h'         otherwise UPDATE: c = f * c' + i * g
        z_l = [clamp((slope a_z + 1) / 2) > 1/2]          its gradient is that of the clamped line
        output = relu(sum_l sigmoid(w_l [h_1 h_2 h_3]) h_l E_l)

    States h and c, and masks, hold the three layers side by side: 3 H units. z starts at 0.
    """

    STATES: ClassVar[tuple[str, ...]] = ("output", "h", "c", "z")
    SITES: ClassVar[frozenset[str]] = SITES
    FORGETS: ClassVar[bool] = False
    EXACT: ClassVar[bool] = False
    hm_output: int = 512
    """Width of the layer that joins the three levels of the HM-LSTM before the softmax. Its authors
    take 512 for characters and 2048 for text8 (spec section 11.5)."""
    hm_norm: bool = True
    """Whether the HM-LSTM normalises each gate and the cell where the state reads it; the unit that
    finds boundaries is never normalised (spec section 11.5)."""
    slope_growth: float = 0.04
    """How much the slope of the boundary unit grows after each epoch, from 1 up to 5. Its authors
    take 0.04 for characters and 0 for text8 (spec section 11.5)."""
    hm_copy: Literal["keep", "top_recomputed"] = "keep"
    """What a copying step does to the third level's state. `keep`: it stays, as printed;
    `top_recomputed`: it is read from the cell again, as in the authors' later code (spec section
    11.5)."""
    hm_gates: Literal["separate", "same"] = "separate"
    """How the four gates start. `separate`: each draws its own numbers; `same`: all start with the
    same ones, as in the authors' later code (spec section 11.5)."""

    def __post_init__(self) -> None:
        require(self.hm_output >= 1, "cell.hm_output", self.hm_output, "at least 1")
        require(
            self.slope_growth >= 0,
            "cell.slope_growth",
            self.slope_growth,
            "at least 0 (0 = a slope of 1)",
        )

    def check(self, trial: Surroundings) -> None:
        super().check(trial)
        must = "1 with model.cell=hm_lstm, which has three layers in itself"
        require(trial.model.num_layers == 1, "model.num_layers", trial.model.num_layers, must)
        must = (
            "0, or of one mask for all gates, with model.cell=hm_lstm, whose matrices hold a"
            " boundary beside the gates"
        )
        for mask in trial.program:
            require(not mask.gates, mask.key, mask.strength, must)

    def sizes(self, model: ModelConfig) -> dict[str, int]:
        side_by_side = LAYERS * model.hidden_size
        return {"output": self.hm_output, "h": side_by_side, "c": side_by_side, "z": LAYERS - 1}

    def starts(self, model: ModelConfig) -> dict[str, int]:
        return {"h": LAYERS * model.hidden_size, "c": LAYERS * model.hidden_size}

    def units(self, model: ModelConfig) -> int:
        return LAYERS * model.hidden_size

    def statistics(
        self, model: ModelConfig, steps: int
    ) -> dict[str, tuple[float, tuple[int, ...]]]:
        return {"slope": (1.0, (1,))}

    def schedule(self, epoch: int) -> dict[str, float]:
        return {"slope": min(SLOPE_MAX, 1.0 + self.slope_growth * (epoch - 1))}

    def _matrices(self, model: ModelConfig, inputs: int) -> dict[str, tuple[int, int]]:
        """Shapes of the matrices with which each layer reads the layer below (w), itself (u), and
        the layer above (v)."""
        hidden = model.hidden_size
        gates_width = 4 * hidden
        with_boundary = gates_width + 1
        return {
            "w1_DG": (inputs, with_boundary),
            "w2_HG": (hidden, with_boundary),
            "w3_HG": (hidden, gates_width),
            "u1_HG": (hidden, with_boundary),
            "u2_HG": (hidden, with_boundary),
            "u3_HG": (hidden, gates_width),
            "v1_HG": (hidden, with_boundary),
            "v2_HG": (hidden, with_boundary),
        }

    def parameters(self, model: ModelConfig, inputs: int) -> dict[str, tuple[int, ...]]:
        hidden = model.hidden_size
        shapes: dict[str, tuple[int, ...]] = {**self._matrices(model, inputs)}
        shapes |= {f"b{layer}_G": shapes[f"u{layer}_HG"][1:] for layer in (1, 2, 3)}
        if self.hm_norm:
            shapes |= {f"gain{layer}_G": (4 * hidden,) for layer in (1, 2, 3)}
            shapes |= {
                f"{name}_c{layer}_H": (hidden,) for name in ("gain", "shift") for layer in (1, 2, 3)
            }
        side_by_side = LAYERS * hidden
        return shapes | {
            "weigh_w_HL": (side_by_side, LAYERS),
            "output_w_HE": (side_by_side, self.hm_output),
        }

    def initial(self, model: ModelConfig, inputs: int, draw: Draw) -> dict[str, Tensor]:
        import torch

        hidden = model.hidden_size
        values = {
            name: self._matrix(draw, *shape, hidden)
            for name, shape in self._matrices(model, inputs).items()
        }
        values["weigh_w_HL"] = torch.cat([draw.matrix(hidden, LAYERS) for _ in range(LAYERS)])
        values["output_w_HE"] = torch.cat(
            [draw.matrix(hidden, self.hm_output) for _ in range(LAYERS)]
        )
        for name, shape in self.parameters(model, inputs).items():
            if name not in values:
                values[name] = draw.full(float(name.startswith("gain")), *shape)
        for layer in (1, 2, 3):
            values[f"b{layer}_G"][hidden : 2 * hidden] += model.forget_bias
        return values

    def _matrix(self, draw: Draw, rows: int, columns: int, hidden: int) -> Tensor:
        import torch

        if self.hm_gates == "separate":
            return draw.matrix(rows, columns)
        matrix = draw.matrix(rows, hidden + columns % 4)
        return torch.cat([matrix[:, :hidden]] * 4 + [matrix[:, hidden:]], dim=1)

    def project(self, p: Parameters, x: Tensor, gain: Tensor | None) -> Tensor:
        return project(x, p["w1_DG"], gain)

    def step(
        self, p: Parameters, a_BG: Tensor, state: State, sites: Sites, moment: Moment
    ) -> State:
        import torch

        _, h_old, c_old, z_old = state
        boundaries = (*z_old.split(1, dim=-1), 0.0)
        states = zip(h_old.chunk(LAYERS, -1), c_old.chunk(LAYERS, -1), boundaries, strict=True)
        old_layers = [Layer(*layer_states) for layer_states in states]
        masks = [_of_layer(sites, layer) for layer in range(LAYERS)]
        read = [gain(mask.recurrent, old.h) for mask, old in zip(masks, old_layers, strict=True)]
        layers: list[Layer] = []
        z_below: Tensor | float = 1.0  # the inputs end a segment at every step
        for n, (old, mask) in enumerate(zip(old_layers, masks, strict=True)):
            a = read[n] @ p[f"u{n + 1}_HG"]
            if layers:
                a = a + z_below * (layers[-1].h @ p[f"w{n + 1}_HG"])
            else:
                a = a + a_BG
            if n < LAYERS - 1:
                a = a + old.z * (read[n + 1] @ p[f"v{n + 1}_HG"])
            layers.append(self._layer(p, n + 1, a, old, z_below, mask))
            z_below = layers[-1].z
        h = torch.cat([layer.h for layer in layers], dim=-1)
        c = torch.cat([layer.c for layer in layers], dim=-1)
        z = torch.cat([cast("Tensor", layer.z) for layer in layers[:-1]], dim=-1)
        weights_BL = (h @ p["weigh_w_HL"]).sigmoid()
        weighted = h.unflatten(-1, (LAYERS, -1)) * weights_BL.unsqueeze(-1)
        return (weighted.flatten(-2) @ p["output_w_HE"]).relu(), h, c, z

    def _layer(
        self, p: Parameters, n: int, a_BG: Tensor, old: Layer, z_below: Tensor | float, sites: Sites
    ) -> Layer:
        """The step of layer n (from 1), from the pre-activations of its gates and boundary without
        their bias."""
        gates_width = 4 * old.h.shape[-1]
        widths = [gates_width, a_BG.shape[-1] - gates_width]
        a_gates, a_z = a_BG.split(widths, dim=-1)
        b_gates, b_z = p[f"b{n}_G"].split(widths)
        if self.hm_norm:
            a_gates = layer_norm(a_gates, p[f"gain{n}_G"], b_gates, blocks=4)
        else:
            a_gates = a_gates + b_gates
        i, f, o, g = gates(a_gates)
        copy = (1 - old.z) * (1 - z_below)
        update = (1 - old.z) * z_below
        cell = gain(
            sites.cells, (1 - copy) * gain(sites.update, i * g) + (copy + update * f) * old.c
        )
        if self.hm_norm:
            read = layer_norm(cell, p[f"gain_c{n}_H"], p[f"shift_c{n}_H"])
        else:
            read = cell
        h = o * read.tanh()
        if n < LAYERS or self.hm_copy == "keep":
            h = copy * old.h + (1 - copy) * h
        h = mix(sites.keep_states, old.h, gain(sites.states, h))
        c = mix(sites.keep_cells, old.c, gain(sites.carried, cell))
        if n < LAYERS:
            return Layer(h, c, boundary(a_z + b_z, p["slope"]))
        return Layer(h, c, 0.0)


def boundary(a_B1: Tensor, slope: Tensor) -> Tensor:
    """1 where slope * a > 0, else 0; its gradient is that of (slope * a + 1) / 2 clamped to
    0..1."""
    line = ((slope * a_B1 + 1) / 2).clamp(0, 1)
    return (line > 0.5).to(line.dtype) + (line - line.detach())


def _of_layer(sites: Sites, layer: int) -> Sites:
    """The masks of one layer: its third of every mask that has a value for each unit."""

    def third(mask: Tensor) -> Tensor:
        if mask.shape[-1] > 1:
            return mask.chunk(LAYERS, -1)[layer]
        return mask

    return sites.map(third)


PART = HMLSTM
