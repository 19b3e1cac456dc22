"""A process that saves checkpoints until it is killed, or until a limit stops it. Run by
test_checkpoint.py.

usage: python checkpoint_writer.py FOLDER FIRST_STEP COUNT [LARGEST_FILE]
"""

import resource
import sys
from itertools import count, islice
from pathlib import Path

import torch

from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import CheckpointError
from zoneout_core.training import checkpoint
from zoneout_core.training.lane_state import LaneState

NUMBERS = 50_000


def state(step: int) -> LaneState:
    """Every number of it says which step it belongs to."""
    weights, m, v, best = (torch.full((NUMBERS,), float(step)) for _ in range(4))
    return LaneState(
        trial=7,
        config=TrialConfig(),
        updates=step,
        weights=weights,
        m=m,
        v=v,
        best=best,
        sums={"nll": float(step)},
    )


def main(folder: Path, first: int, repeats: int, largest_file: int | None) -> int:
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    for step in islice(count(first), repeats):
        try:
            checkpoint.save(folder, state(step))
        except CheckpointError as error:
            print(error)
            return 3
        print(step, flush=True)
    return 0


if __name__ == "__main__":
    arguments = [int(a) for a in sys.argv[2:]]
    sys.exit(
        main(
            Path(sys.argv[1]),
            arguments[0],
            arguments[1],
            arguments[2] if len(arguments) > 2 else None,
        )
    )
