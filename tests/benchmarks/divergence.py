"""What samplers do about a region that diverges: `python tests/benchmarks/divergence.py [--seeds N]
[SAMPLER ...]`.

A study is asked and told, nothing is trained: a rate and a z over a bowl whose best point lies a
little below the edge above which trials diverge. A line for each sampler and each share of the
range that diverges: which share of the draws after the first ten diverged, and the best value found
(1.5 is the least), as means over seeds.
"""

import argparse
import math
import tempfile
from dataclasses import replace
from pathlib import Path

from search_spaces import Product, Range
from sweeps import definition
from sweeps.books.sampling import START_UP
from sweeps.books.study import Study
from zoneout_core.records import TrialState

TRIALS = 50
LOW, HIGH = 1e-4, 1.0
SPACE = Product((Range("learning_rate", LOW, HIGH, log=True), Range("z_cells", 0.0, 0.9)))


def search(sampler: str, share: float, seed: int, folder: Path) -> tuple[float, float]:
    """The share of draws that diverged after the start, and the best value."""
    sweep = replace(
        definition.get("demo"), space=SPACE, sampler=sampler, num_trials=TRIALS, sampler_seed=seed
    )
    study, values, edge = Study("s", sweep, folder / f"{seed}.journal"), [], 1 - share
    while (assignment := study.ask()) is not None:
        rate = math.log(assignment.params["optim.learning_rate"] / LOW) / math.log(HIGH / LOW)
        z = assignment.params["regularizer.zoneout.z_cells"] / 0.9
        if rate > edge:
            values.append(math.inf)
            study.tell(assignment.trial, TrialState.FAILED, "diverged: train_bpc is nan")
        else:
            values.append(1.5 + 3 * (rate - 0.8 * edge) ** 2 + 0.5 * (z - 0.4) ** 2)
            study.tell(assignment.trial, TrialState.COMPLETE, "done", values[-1])
    return sum(map(math.isinf, values[START_UP:])) / (TRIALS - START_UP), min(values)


def main() -> None:
    """Search with each sampler and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samplers", nargs="*", default=["random", "tpe", "gp"])
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args()
    for sampler in options.samplers:
        for share in (0.1, 0.25, 0.5, 0.9):
            with tempfile.TemporaryDirectory() as folder:
                found = [
                    search(sampler, share, seed, Path(folder)) for seed in range(options.seeds)
                ]
            diverged, best = (sum(column) / options.seeds for column in zip(*found, strict=True))
            print(
                f"{sampler:6}  diverging {share:4.0%}  drawn there {diverged:4.0%}  best {best:.5f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
