"""How fast is the recurrence alone, forward and backward? The lane-native kernels against the loop,
cell by cell.

usage: python tests/benchmarks/recurrence.py [--rounds 5] [--threads 1] [--cells lstm gru ...]
[--json FILE]

Two workloads: characters (tokens, a gradient at every step) and pixels (one number a step, 784
steps, a gradient at the last). Both kernels take turns and are timed in processor seconds, which a
busy machine stretches little, so that the ratio means something even there. No time is taken from a
kernel whose gradients do not agree with the loop's.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import Final

import torch
from torch import Tensor

from zoneout_core import kernels
from zoneout_core.cells import Cell
from zoneout_core.cells.gru import GRU
from zoneout_core.cells.lstm import LSTM
from zoneout_core.cells.rnn import RNN
from zoneout_core.config.trial import ModelConfig
from zoneout_core.kernels import KernelChoice, Workspace, choose, recurrence
from zoneout_core.masking.sites import Sites

CELLS: Final[dict[str, Cell]] = {
    "lstm": LSTM(),
    "gru": GRU(),
    "gru_after": GRU(reset="after"),
    "rnn": RNN(),
}
Z_CELLS, Z_STATES = 0.5, 0.05
TOLERANCE = 1e-4
"""Of gradients over their largest entry, in float32."""


@dataclass(frozen=True)
class Shape:
    """A workload's sizes."""

    name: str
    lanes: int
    steps: int
    batch: int
    hidden: int
    inputs: int
    """Symbols, or numbers a step."""
    pixels: bool


SHAPES: Final = (
    Shape("characters", lanes=8, steps=99, batch=32, hidden=128, inputs=50, pixels=False),
    Shape("pixels", lanes=5, steps=784, batch=100, hidden=100, inputs=1, pixels=True),
)


@dataclass(frozen=True)
class Result:
    """Milliseconds of processor time per lane and step; `over_loop` says how many times as fast as
    the loop."""

    shape: str
    cell: str
    lanes: int
    kernel_ms: float
    loop_ms: float
    over_loop: float
    product: str
    """The kernel's."""


class Workload:
    """Inputs of K lanes, and one forward and backward pass over them."""

    def __init__(self, cell: Cell, shape: Shape) -> None:
        torch.manual_seed(1)
        K, T, B, H, D = shape.lanes, shape.steps, shape.batch, shape.hidden, shape.inputs
        self.cell, self.shape = cell, shape
        sizes = cell.parameters(ModelConfig(hidden_size=H), D)
        self.p = {
            name: (torch.randn(K, *size) * H**-0.5).requires_grad_() for name, size in sizes.items()
        }
        self.x = torch.rand(K, T, B, D) if shape.pixels else torch.randint(0, D, (K, T, B))
        self.state = tuple(torch.zeros(K, 1, H) for _ in cell.STATES)
        self.masks = {"keep_states": torch.rand(K, T, B, H) < Z_STATES}
        if len(self.state) == 2:
            self.masks["keep_cells"] = torch.rand(K, T, B, H) < Z_CELLS
        self.dh_KBH = torch.randn(K, B, H)
        self.workspace = Workspace()

    def step(self, implementation: str) -> Sequence[Tensor]:
        """Gradients of the parameters."""
        choice = self.choice(implementation)
        sites = Sites(**self.masks)
        lanes = recurrence(
            self.cell, self.p, self.x, self.state, sites, choice, workspace=self.workspace
        )
        if self.shape.pixels:
            return torch.autograd.grad(lanes.last[0], list(self.p.values()), self.dh_KBH)
        dh_KTBH = self.dh_KBH[:, None].expand(lanes.outputs_KTBU.shape)
        return torch.autograd.grad(lanes.outputs_KTBU, list(self.p.values()), dh_KTBH)

    def choice(self, implementation: str) -> KernelChoice:
        """With the product that a trial of this shape takes on this machine."""
        batch, hidden = self.shape.batch, self.shape.hidden
        shape = kernels.Shape(batch, hidden, self.cell.GATES * hidden, self.shape.steps)
        return choose(self.cell, "float32", "cpu", self.masks, implementation, shape)

    def disagreement(self) -> float:
        """Largest difference of any gradient from the loop's, over that gradient's largest
        entry."""
        pairs = zip(self.step("loop"), self.step("torch"), strict=True)
        differences = [(a - b).abs().max() / a.abs().max() for a, b in pairs]
        return float(torch.stack(differences).max().nan_to_num(float("inf")))

    def seconds(self, implementation: str) -> float:
        started = process_time()
        self.step(implementation)
        return process_time() - started


def measure(name: str, shape: Shape, rounds: int) -> Result:
    """Raises `SystemExit` when the answers differ."""
    workload = Workload(CELLS[name], shape)
    worst = workload.disagreement()  # a warm-up as well
    if worst > TOLERANCE:
        sys.exit(
            f"{name}, {shape.name}: gradients differ by {worst:.1e}. No times are taken from a wrong answer."
        )
    kernel, loop = zip(
        *((workload.seconds("torch"), workload.seconds("loop")) for _ in range(rounds)), strict=True
    )
    per_lane = 1e3 / shape.lanes
    ratio = median(b / a for a, b in zip(kernel, loop, strict=True))
    product = workload.choice("torch").product.name
    return Result(
        shape.name,
        name,
        shape.lanes,
        median(kernel) * per_lane,
        median(loop) * per_lane,
        ratio,
        product,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"torch {torch.__version__}, {arguments.threads} threads; processor ms per lane and step, float32"
    )
    print(f"{'workload':12}{'cell':12}{'lanes':>6}{'kernel':>9}{'loop':>9}{'x loop':>8}  product")
    results = []
    for shape in SHAPES:
        for name in arguments.cells:
            r = measure(name, shape, arguments.rounds)
            results.append(r)
            print(
                f"{r.shape:12}{r.cell:12}{r.lanes:6}{r.kernel_ms:9.1f}{r.loop_ms:9.1f}{r.over_loop:8.2f}  {r.product}"
            )
    if arguments.json:
        facts = {
            "torch": torch.__version__,
            "threads": arguments.threads,
            "rounds": arguments.rounds,
        }
        arguments.json.write_text(
            json.dumps(facts | {"results": [asdict(r) for r in results]}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
