"""Cells: the recurrence of one layer, written like the equations. To add one, add a file that
exports `PART`.

This is the ground truth: one lane, one step at a time, ordinary autograd, no cleverness. Kernels
are tested against it, and it is tested against the oracles; cells without a kernel train through
it. A cell is a frozen dataclass of its settings, the section `cell` of a configuration. Importing a
cell imports no torch: it computes with the methods of its arguments.

Shapes: T time, B batch, D input, H hidden, G gates side by side.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from zoneout_core.cells._arithmetic import gain, mix, project
from zoneout_core.config import parts, registry
from zoneout_core.config.contracts import CellPart, Surroundings
from zoneout_core.config.fields import require
from zoneout_core.config.model import ModelConfig
from zoneout_core.config.trial import TrialConfig
from zoneout_core.masking.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Cell",
    "Draw",
    "Moment",
    "Parameters",
    "Sites",
    "State",
    "Surroundings",
    "Trajectory",
    "chosen",
    "gain",
    "mix",
    "name_of",
    "names",
    "project",
    "require",
]

Parameters = Mapping[str, "Tensor"]
State = tuple["Tensor", ...]
"""The states of a layer, each [B, ·]. The first is what the next layer (or the output layer)
reads."""


class Draw(Protocol):
    """Draws initial parameters, float64 (`zoneout_core.network.init`)."""

    def matrix(self, rows: int, columns: int) -> Tensor:
        """A matrix as `model.init` says. Gates side by side are drawn as one matrix."""

    def bias(self, *shape: int) -> Tensor:
        """Zeros, or uniform numbers where `model.init_biases` says so."""

    def full(self, value: float, *shape: int) -> Tensor:
        """A constant."""

    def normal(self, deviation: float, *shape: int) -> Tensor:
        """Independent normal numbers around 0."""


class Trajectory(NamedTuple):
    """The result of a run over T steps."""

    states: tuple[Tensor, ...]
    """Every state after every step, each [T, B, ·]; `states[0][t]` is the layer's output."""
    statistics: dict[str, Tensor]
    """Batch statistics of each step, by the names of `Cell.statistics`; empty outside training."""

    @property
    def last(self) -> State:
        """The states after the last step."""
        return tuple(state_TBU[-1] for state_TBU in self.states)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a step may need besides its projected inputs, states and masks."""

    t: int
    """The step's index in this run, from 0."""
    training: bool
    statistics: dict[str, Tensor]
    """In training, a normalising cell writes the batch statistics of this step here."""
    x: Tensor
    """The inputs of the step, tokens [B] or [B, D]."""


@dataclass(frozen=True, kw_only=True)
class Cell(CellPart):
    """Base of all cells: a frozen dataclass of a cell's settings. It has no slots, so that
    `super()` works in a cell."""

    STATES: ClassVar[tuple[str, ...]] = ("h", "c")
    GATES: ClassVar[int] = 4
    """Number of blocks of width H in w, u and b."""
    SITES: ClassVar[frozenset[str]] = frozenset({"inputs", "recurrent", "states", "keep_states"})
    """Where it has a place for a mask (`zoneout_core.masking.sites`)."""
    FORGETS: ClassVar[bool] = True
    """Whether the second block of b_G is that of a forget gate."""
    EXACT: ClassVar[bool] = True
    """False where part of the gradient is cut off or straight-through by definition, and so not the
    derivative."""
    SYMBOLS: ClassVar[bool] = False
    """Whether it reads symbols only, and no dense inputs."""

    def check(self, trial: Surroundings) -> None:
        """Raises `ConfigError` when the rest of the trial does not suit the cell. Called when the
        cell is chosen."""
        constant = trial.model.forget_constant
        must = f"0 with model.cell={trial.model.cell}, whose biases have no place for it"
        require(self.FORGETS or constant == 0, "model.forget_constant", constant, must)

    def sizes(self, model: ModelConfig) -> dict[str, int]:
        """Width of every state by name, in the order of a `State`."""
        return dict.fromkeys(self.STATES, model.hidden_size)

    def starts(self, model: ModelConfig) -> dict[str, int]:
        """Width of the states whose initial values can be trained, as parameters `<name>0_H`. All
        others start at 0."""
        return self.sizes(model)

    def units(self, model: ModelConfig) -> int:
        """Width of a mask with a value for every unit, except at site `inputs`."""
        return model.hidden_size

    def parameters(self, model: ModelConfig, inputs: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters of a layer that reads D = `inputs` numbers, without its initial
        states."""
        hidden, gates = model.hidden_size, self.GATES * model.hidden_size
        return {"w_DG": (inputs, gates), "u_HG": (hidden, gates), "b_G": (gates,)}

    def initial(self, model: ModelConfig, inputs: int, draw: Draw) -> dict[str, Tensor]:
        """Initial values of `parameters`, by the same names."""
        hidden, gates = model.hidden_size, self.GATES * model.hidden_size
        values = {
            "w_DG": draw.matrix(inputs, gates),
            "u_HG": draw.matrix(hidden, gates),
            "b_G": draw.bias(gates),
        }
        if self.FORGETS:
            values["b_G"][hidden : 2 * hidden] += model.forget_bias
        return values

    def statistics(
        self, model: ModelConfig, steps: int
    ) -> dict[str, tuple[float, tuple[int, ...]]]:
        """Start value and shape of the numbers that are kept with the parameters but not trained.
        Those that `Trajectory.statistics` names are running statistics over `steps` steps."""
        return {}

    @property
    def statistics_rate(self) -> float:
        """Share of a new batch in the running statistics."""
        return 0.0

    @property
    def scores_by_batch(self) -> bool:
        """Whether validations use the statistics of their batches instead of the running
        statistics."""
        return False

    @property
    def samples_population(self) -> bool:
        """Whether masks are drawn while the final population statistics are taken, as in training.
        Otherwise their expectations are used."""
        return False

    def schedule(self, epoch: int) -> dict[str, float]:
        """The values that some kept numbers have throughout epoch `epoch` (from 1)."""
        return {}

    def unpack(self, p: Parameters) -> Parameters:
        """The parameters as the other methods take them, with parts and combinations of them that
        need to be made only once."""
        return p

    def project(self, p: Parameters, x: Tensor, gain: Tensor | None) -> Tensor:
        """The share of inputs and biases in the gates of every step, [T, B, G]: all that needs no
        state, computed at once.

        x: tokens [T, B], or [T, B, D]. gain: broadcasts to x (for tokens: to [T, B, 1]), or to [T,
        B, gates, D].
        """
        return project(x, p["w_DG"], gain, p["b_G"])

    def begin(self, state: State, sites: Sites) -> State:
        """The states, each [B, ·], as the first `step` takes them. A state that only some masks
        need may be added."""
        return state

    @abstractmethod
    def step(
        self, p: Parameters, a_BG: Tensor, state: State, sites: Sites, moment: Moment
    ) -> State:
        """The states after one step; `a_BG` is this step of `project`, `sites` has this step's
        masks."""

    def run(
        self, p: Parameters, x: Tensor, state: State, sites: Sites, *, training: bool
    ) -> Trajectory:
        """T steps from `state`, each [B, ·] or [1, ·].

        In training, normalisation uses the statistics of the batch and returns them; otherwise the
        running statistics in `p`.
        """
        p = self.unpack(p)
        a_TBG = self.project(p, x, sites.inputs)
        steps, batch = a_TBG.shape[:2]
        state = self.begin(tuple(value.expand(batch, -1) for value in state), sites)
        states: list[State] = []
        step_statistics: list[dict[str, Tensor]] = []
        step_inputs = zip(
            a_TBG.unbind(0), sites.steps(steps, a_TBG.dtype), x.unbind(0), strict=True
        )
        for t, (a_BG, masks, x_t) in enumerate(step_inputs):
            moment = Moment(t=t, training=training, statistics={}, x=x_t)
            state = self.step(p, a_BG, state, masks, moment)
            states.append(state)
            step_statistics.append(moment.statistics)
        import torch

        statistics = {
            name: torch.stack([statistics[name] for statistics in step_statistics])
            for name in step_statistics[0]
        }
        trajectories = tuple(torch.stack(values) for values in zip(*states, strict=True))
        return Trajectory(trajectories, statistics)


def names() -> list[str]:
    """All cells, sorted."""
    return registry.names(__name__)


def chosen(config: TrialConfig) -> Cell:
    """The cell of a configuration, with its settings."""
    cell = config.cell
    assert isinstance(cell, Cell), "the files of this package export cells"
    return cell


def name_of(kind: type[Cell]) -> str:
    """The name of the cell that this class is; empty if no file exports it."""
    for name, known in parts.cells().items():
        if known is kind:
            return name
    return ""
