"""Every cell in every form: its default settings, and each other value of a setting that has only a
few values."""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from zoneout_core.cells import Cell, Parameters, State, Trajectory, chosen, name_of
from zoneout_core.config import parts
from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance import subjects
from zoneout_core.masking.sites import Sites
from zoneout_core.network.init import InitialDraw

F64 = torch.float64
SYMBOLS = 5


CellForm = tuple[str, dict[str, object]]
"""The name of a cell, and the settings that differ from its defaults."""


def cell_forms() -> list[CellForm]:
    """The forms of all cells, from their fields: a new cell or setting is included by itself."""
    forms: list[CellForm] = []
    for name in subjects("zoneout_core.cells"):
        kind = parts.cell(name)
        forms.append((name, {}))
        for f in fields(kind):
            hint = get_type_hints(kind)[f.name]
            options: tuple[object, ...] = ()
            if get_origin(hint) is Literal:
                options = get_args(hint)
            elif hint is bool:
                options = (True, False)
            forms += [(name, {f.name: option}) for option in options if option != f.default]
    return forms


def form_id(form: CellForm) -> str:
    """The name of a form in the names of tests."""
    return "-".join([form[0], *(f"{key}={value}" for key, value in form[1].items())])


@dataclass
class Made:
    """A layer of a cell with random numbers everywhere."""

    cell: Cell
    config: TrialConfig
    p: dict[str, Tensor]
    """Parameters, running statistics and an output layer."""
    trained: list[str]
    """Which of them are trained."""
    state: State
    x: Tensor
    """Symbols [T, B]."""
    dense: Tensor
    """[T, B, D]"""
    sizes: dict[str, int]

    def run(
        self, sites: Sites | None = None, *, training: bool = True, **values: Any
    ) -> Trajectory:
        """values: parameters, state or x that replace those of this layer."""
        p: Parameters = self.p | values.pop("p", {})
        arguments: dict[str, Any] = {"x": self.x, "state": self.state} | values
        return self.cell.run(p, sites=sites or Sites(), training=training, **arguments)

    def named(self, trajectory: Trajectory) -> dict[str, Tensor]:
        return dict(zip(self.sizes, trajectory.states, strict=False))

    def mask_of_ones(self, site: str) -> Tensor:
        """Ones [T, B, U], with the U of the site when the layer reads symbols."""
        units = 1 if site == "inputs" else self.cell.units(self.config.model)
        return torch.ones(*self.x.shape, units, dtype=F64)

    def masks(self, seed: int = 1) -> Sites:
        """Real numbers from 0.2 to 0.8 at every site that the cell has."""
        generator = torch.Generator().manual_seed(seed)
        values: dict[str, Any] = {}
        for name in sorted(self.cell.SITES):
            shape = self.mask_of_ones(name).shape
            values[name] = 0.2 + 0.6 * torch.rand(shape, generator=generator, dtype=F64)
        form = "intent" if "gate" in values else ""
        return Sites(**values, gate_form=form)


def make(
    name: str,
    settings: dict[str, Any],
    steps: int = 4,
    batch: int = 3,
    hidden: int = 5,
    seed: int = 0,
) -> Made:
    """A layer of D = 5 inputs with numbers around their initial values."""
    config = TrialConfig().with_values({"cell": name, "hidden_size": hidden} | settings)
    cell = chosen(config)
    assert name_of(type(cell)) == name
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=F64)

    initial = cell.initial(config.model, SYMBOLS, InitialDraw(config.model, seed))
    p = {key: value + 0.3 * normal(*value.shape) for key, value in initial.items()}
    sizes = cell.sizes(config.model)
    for key, (start, shape) in cell.statistics(config.model, steps).items():
        p[key] = start + 0.1 * normal(*shape).abs()
    p |= {
        "out_w_HV": 0.5 * normal(next(iter(sizes.values())), SYMBOLS),
        "out_b_V": 0.5 * normal(SYMBOLS),
    }
    starts = cell.starts(config.model)
    state = tuple(
        0.5 * normal(batch, size) if key in starts else torch.zeros(batch, size, dtype=F64)
        for key, size in sizes.items()
    )
    x = torch.randint(SYMBOLS, (steps, batch), generator=generator)
    return Made(cell, config, p, list(initial), state, x, normal(steps, batch, SYMBOLS), sizes)
