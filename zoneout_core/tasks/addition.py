"""Sums of two decimal numbers, and short programs, read and answered symbol by symbol (spec section
6).

A simplified "learning to execute". There are no files: examples are drawn, harder ones at a higher
difficulty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoneout_core.records import CURRICULUM
from zoneout_core.tasks import Generated, Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Symbols = npt.NDArray[np.uint8]

Split = Literal["train", "valid"]
GO, PAD = "G", "_"
"""The symbol that a decoder reads first, and the padding; ids 0 and 1 of every alphabet."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Problems(Generated):
    """Draws texts and their answers, as ids of an alphabet."""

    alphabet: str
    input_width: int
    """Symbols of an input, padded on its left."""
    target_width: int
    """Symbols of an answer, padded on its right."""
    first: int
    """The difficulty to start at."""
    last: int
    """The highest difficulty."""
    draw_texts: Callable[[Any, int, int, Split], list[tuple[str, str]]]
    """(numpy generator, difficulty, count, split) -> pairs of text and answer, unpadded."""

    def draw(
        self, seed: int, difficulty: int, count: int, split: Split = "train"
    ) -> tuple[Symbols, Symbols]:
        """Inputs [count, input_width] and targets [count, target_width], uint8 ids. They depend on
        the arguments alone."""
        import numpy as np

        assert self.first <= difficulty <= self.last, difficulty
        pairs = self.draw_texts(
            np.random.Generator(np.random.PCG64(seed)), difficulty, count, split
        )
        inputs = self.encode([text.rjust(self.input_width, PAD) for text, _ in pairs])
        return inputs, self.encode([answer.ljust(self.target_width, PAD) for _, answer in pairs])

    def encode(self, texts: list[str]) -> Symbols:
        """uint8 ids [len(texts), width] of texts of equal width."""
        import numpy as np

        table = np.zeros(128, np.uint8)
        table[[ord(symbol) for symbol in self.alphabet]] = np.arange(len(self.alphabet))
        ids = table[np.frombuffer("".join(texts).encode("ascii"), np.uint8)]
        symbols: Symbols = ids.reshape(len(texts), -1)
        return symbols


def load(_data_dir: Path, variant: str) -> Problems:
    """addition: `12+345`; the difficulty, 2 to 5, is the largest number of digits. program: the
    difficulty, 1 to 4, is a row of `_programs.LEVELS`."""
    from zoneout_core.tasks import _programs

    if variant == "program":
        values: dict[str, Any] = {
            "alphabet": GO + PAD + "0123456789abcdefghijklmnopqrstuvwxyz +-=():<>\n",
            "input_width": 70,
            "target_width": 6,
            "first": 1,
            "last": len(_programs.LEVELS),
            "draw_texts": _programs.draw,
        }
    else:
        values = {
            "alphabet": GO + PAD + "0123456789+",
            "input_width": 13,
            "target_width": 7,
            "first": 2,
            "last": 5,
            "draw_texts": sums,
        }
    unsigned = Problems(name=TASK.name, variant=variant, sha256="", **values)
    inputs, targets = unsigned.draw(0, unsigned.last, 1000)
    digest = hashlib.sha256(unsigned.alphabet.encode() + inputs.tobytes() + targets.tobytes())
    return Problems(name=TASK.name, variant=variant, sha256=digest.hexdigest(), **values)


def sums(
    random: np.random.Generator, difficulty: int, count: int, _split: Split
) -> list[tuple[str, str]]:
    """Sums of two numbers: each draws k uniformly from 1..difficulty, then the number uniformly
    from 0..10^k. Both splits draw alike."""
    digits = random.integers(1, difficulty, (count, 2), endpoint=True)
    numbers = random.integers(0, 10**digits, endpoint=True)
    return [(f"{a}+{b}", str(a + b)) for a, b in numbers.tolist()]


PROGRAM: dict[str, Any] = {
    "variant": "program",
    "hidden_size": 320,
    "batch_size": 128,
    "sequence_length": 70,
}
"""The settings that the later variant `program` changes."""

TASK = Task(
    name="addition",
    description=(
        "Sums (or short programs) answered symbol by symbol, with a curriculum; draws its examples"
    ),
    variants=("addition", "program"),
    workload="addition",
    metrics=CURRICULUM,
    settings={
        "num_layers": 2,
        "hidden_size": 128,
        "sequence_length": 13,  # the inputs' width
        "batch_size": 32,
        "init": "uniform",
        "init_width": 0.08,
        "init_state": "zero",
        # The softmax and the upper layer read the states before zoneout.
        "cell.output": "candidate",
        "learning_rate": 0.01,
        "clip_norm": float("inf"),
        "epochs": 40,
        "patience": 40,
    },
    load=load,
)
