"""How fast is one training step? Ours against a Python loop with zoneout and against torch.nn.LSTM
without.

usage: python tests/benchmarks/training_step.py [--rounds 9] [--threads 2] [--hidden 128 1000]
[--json FILE]

A step is everything between two batches: masks, forward, softmax head, backward, clip and Adam.
Head and optimizer are the same code for all contenders, so that only the recurrence differs.
Contenders take turns, A B C A B C, and ratios are medians over the rounds, so that a busy machine
slows all of them alike. No time is taken from an implementation that does not agree with the loop
through the cell: that gate comes first.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from zoneout_core.cells.lstm import LSTM
from zoneout_core.config.trial import OptimConfig
from zoneout_core.kernels import Shape, Workspace, choose, recurrence
from zoneout_core.masking import mask_values
from zoneout_core.masking.sites import Sites
from zoneout_core.masking.streams import generator
from zoneout_core.training.optim import update

BATCH, STEPS, VOCABULARY = 32, 99, 50
Z_CELLS, Z_STATES = 0.5, 0.05
TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2}
"""Of gradients over their largest entry, after 99 steps."""
WEIGHTS = ("w_DG", "u_HG", "b_G")
Step = Callable[[], None]


@dataclass(frozen=True)
class Contender:
    """A way to make one step of `lanes` lanes."""

    name: str
    lanes: int
    step: Step


@dataclass(frozen=True)
class Result:
    """Milliseconds per lane and step; ratios above 1 say how many times faster than the other."""

    hidden: int
    contender: str
    lanes: int
    median_ms: float
    fastest_ms: float
    over_lstm: float
    over_loop: float


class Trainer:
    """Head, gradient and optimizer of K lanes whose parameters are rows of numbers."""

    def __init__(self, lanes: int, shapes: list[tuple[int, ...]], hidden: int) -> None:
        torch.manual_seed(1)
        self.shapes = [*shapes, (hidden, VOCABULARY), (VOCABULARY,)]
        size = sum(-(-prod(shape) // 64) * 64 for shape in self.shapes)
        self.rows = [torch.zeros(lanes, size) for _ in range(4)]
        self.rows[0].normal_(0, hidden**-0.5)
        self.scratch = torch.zeros(size)
        self.tokens_KTB = torch.randint(0, VOCABULARY, (lanes, STEPS, BATCH))
        self.targets_KTB = torch.randint(0, VOCABULARY, (lanes, STEPS, BATCH))
        self.updates = 0

    def views(self, rows_KP: Tensor) -> list[Tensor]:
        start, views = 0, []
        for shape in self.shapes:
            views.append(rows_KP[:, start : start + prod(shape)].unflatten(1, shape))
            start += -(-prod(shape) // 64) * 64
        return views

    def step(self, run: Callable[[list[Tensor]], Tensor]) -> None:
        """One update; `run` maps the layer's parameters to h_KTBH."""
        weights_KP, gradient_KP, *_ = self.rows
        leaves = [view.requires_grad_() for view in self.views(weights_KP.detach())]
        h_KTBH = run(leaves[:-2])
        losses = [
            torch.nn.functional.cross_entropy(
                torch.addmm(b_V, h_TBH.flatten(0, 1), w_HV), targets_TB.flatten()
            )
            for h_TBH, w_HV, b_V, targets_TB in zip(
                h_KTBH.unbind(),
                leaves[-2].unbind(),
                leaves[-1].unbind(),
                self.targets_KTB,
                strict=True,
            )
        ]
        for view, part in zip(
            self.views(gradient_KP), torch.autograd.grad(losses, leaves), strict=True
        ):
            view.copy_(part)
        self.updates += 1
        for row in zip(*self.rows, strict=True):
            update(*row, OptimConfig(), self.updates, self.scratch)


def ours(hidden: int, lanes: int, precision: str) -> Contender:
    G = 4 * hidden
    trainer = Trainer(lanes, [(VOCABULARY, G), (hidden, G), (G,), (1, hidden), (1, hidden)], hidden)
    choice, workspace = (
        choose(LSTM(), precision, "cpu", shape=Shape(BATCH, hidden, G, STEPS)),
        Workspace(),
    )
    cells, states = (torch.zeros(lanes, STEPS, BATCH, hidden, dtype=torch.bool) for _ in range(2))
    words = mask_values.words_for(cells[0].numel(), "cpu")

    def run(parameters: list[Tensor]) -> Tensor:
        for k in range(lanes):
            mask_values.draw_(
                cells[k], Z_CELLS, generator(k, "masks_cells", counter=trainer.updates), words
            )
            mask_values.draw_(
                states[k], Z_STATES, generator(k, "masks_states", counter=trainer.updates), words
            )
        p, sites = (
            dict(zip(WEIGHTS, parameters, strict=False)),
            Sites(keep_cells=cells, keep_states=states),
        )
        state = (parameters[3], parameters[4])
        return recurrence(
            LSTM(), p, trainer.tokens_KTB, state, sites, choice, workspace=workspace
        ).outputs_KTBU

    return Contender(
        f"ours, {lanes} lane{'s' * (lanes > 1)}, {precision}, {choice.product.name}",
        lanes,
        lambda: trainer.step(run),
    )


def python_loop(hidden: int) -> Contender:
    """What one writes without a kernel: LSTMCell's arithmetic, masks by rand, autograd over every
    step."""
    G = 4 * hidden
    trainer = Trainer(1, [(VOCABULARY, G), (hidden, G), (G,), (1, hidden), (1, hidden)], hidden)

    def run(parameters: list[Tensor]) -> Tensor:
        w, u, b, h0, c0 = (parameter[0] for parameter in parameters)
        h, c = h0.expand(BATCH, -1), c0.expand(BATCH, -1)
        rows, hs = w + b, []
        for tokens in trainer.tokens_KTB[0]:
            a_ifo, a_g = torch.addmm(rows[tokens], h, u).split([3 * hidden, hidden], dim=-1)
            i, f, o = torch.sigmoid(a_ifo).chunk(3, dim=-1)
            candidate = f * c + i * torch.tanh(a_g)
            h_new = o * torch.tanh(candidate)
            c = torch.where(torch.rand_like(c) < Z_CELLS, c, candidate)
            h = torch.where(torch.rand_like(h) < Z_STATES, h, h_new)
            hs.append(h)
        return torch.stack(hs).unsqueeze(0)

    return Contender("Python loop", 1, lambda: trainer.step(run))


def torch_lstm(hidden: int) -> Contender:
    """oneDNN's fused layer, which has no place for zoneout: the floor we measure ourselves
    against."""
    lstm = torch.nn.LSTM(VOCABULARY, hidden)
    names = [name for name, _ in lstm.named_parameters()]
    trainer = Trainer(1, [tuple(p.shape) for p in lstm.parameters()], hidden)
    x_TBV = torch.nn.functional.one_hot(trainer.tokens_KTB[0], VOCABULARY).float()

    def run(parameters: list[Tensor]) -> Tensor:
        own = dict(zip(names, (parameter[0] for parameter in parameters), strict=True))
        h_TBH, _ = torch.func.functional_call(lstm, own, (x_TBV,))
        return h_TBH.unsqueeze(0)

    return Contender("nn.LSTM, no zoneout", 1, lambda: trainer.step(run))


def disagreement(hidden: int, precision: str) -> float:
    """Largest difference of any gradient from the loop's, over that gradient's largest entry."""
    torch.manual_seed(2)
    K, G = 2, 4 * hidden
    leaves = [
        torch.randn(shape) * hidden**-0.5 for shape in ((K, VOCABULARY, G), (K, hidden, G), (K, G))
    ]
    leaves += [torch.zeros(K, 1, hidden), torch.zeros(K, 1, hidden)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    tokens = torch.randint(0, VOCABULARY, (K, STEPS, BATCH))
    drawn = [torch.rand(K, STEPS, BATCH, hidden) < z for z in (Z_CELLS, Z_STATES)]
    dh_KTBH = torch.randn(K, STEPS, BATCH, hidden)
    results = []
    p, state = dict(zip(WEIGHTS, leaves, strict=False)), (leaves[3], leaves[4])
    for implementation in ("loop", "torch"):
        choice = choose(LSTM(), precision, "cpu", implementation=implementation)
        h_KTBH = recurrence(
            LSTM(), p, tokens, state, Sites(keep_cells=drawn[0], keep_states=drawn[1]), choice
        ).outputs_KTBU
        results.append(torch.autograd.grad(h_KTBH, leaves, dh_KTBH))
    differences = [(a - b).abs().max() / a.abs().max() for a, b in zip(*results, strict=True)]
    return float(torch.stack(differences).max().nan_to_num(float("inf")))


def contenders(hidden: int) -> list[Contender]:
    if hidden >= 512:
        mine = [ours(hidden, 1, "float32"), ours(hidden, 1, "bfloat16")]
    else:
        mine = [ours(hidden, 1, "float32"), ours(hidden, 8, "float32"), ours(hidden, 8, "bfloat16")]
    return [torch_lstm(hidden), python_loop(hidden), *mine]


def measure(hidden: int, rounds: int) -> list[Result]:
    everyone = contenders(hidden)
    times: dict[str, list[float]] = {contender.name: [] for contender in everyone}
    for turn in range(-1, rounds):  # the first turn is a warm-up
        for contender in everyone:
            started = perf_counter()
            contender.step()
            if turn >= 0:
                times[contender.name].append((perf_counter() - started) * 1e3 / contender.lanes)

    def ratio(other: str, name: str) -> float:
        return median(a / b for a, b in zip(times[other], times[name], strict=True))

    lstm, loop = everyone[0].name, everyone[1].name
    return [
        Result(
            hidden,
            c.name,
            c.lanes,
            median(times[c.name]),
            min(times[c.name]),
            ratio(lstm, c.name),
            ratio(loop, c.name),
        )
        for c in everyone
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hidden", type=int, nargs="+", default=[128, 1000])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    for precision, tolerance in TOLERANCES.items():
        worst = disagreement(37, precision)
        print(
            f"gate: {precision} gradients differ from the loop's by {worst:.1e}, at most {tolerance:.0e} allowed"
        )
        if worst > tolerance:
            print("No times are taken from a wrong answer.", file=sys.stderr)
            return 1
    amx = torch.cpu._is_amx_tile_supported()
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {arguments.threads} threads, "
        f"AMX: {'yes' if amx else 'no'}; B={BATCH}, {STEPS} steps, V={VOCABULARY}; ms per lane and step"
    )
    print(f"{'H':>5}  {'contender':34}{'median':>9}{'fastest':>9}{'x nn.LSTM':>11}{'x loop':>8}")
    results = []
    for hidden in arguments.hidden:
        for r in measure(hidden, arguments.rounds):
            results.append(r)
            print(
                f"{r.hidden:5}  {r.contender:34}{r.median_ms:9.1f}{r.fastest_ms:9.1f}{r.over_lstm:11.2f}{r.over_loop:8.2f}"
            )
    if arguments.json:
        facts = {
            "torch": torch.__version__,
            "threads": arguments.threads,
            "amx": amx,
            "rounds": arguments.rounds,
        }
        arguments.json.write_text(
            json.dumps(facts | {"results": [asdict(r) for r in results]}, indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
