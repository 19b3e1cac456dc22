"""The places of the data that an evaluation reads."""

from typing import NamedTuple

import torch
from torch import Tensor


class Places(NamedTuple):
    """The places that an evaluation reads: T steps of B sequences.

    A mask that is drawn in an evaluation belongs to a place, so it does not depend on how the data
    are cut into pieces.
    """

    steps_TB: Tensor
    """The number of earlier steps in the sequence, [T, B] or [T, 1]. Static masks repeat every
    `LayerShape.steps`."""
    numbers_TB: Tensor
    """The number of the place among all places of the data. Most masks are drawn for each place."""
    sequences_B: Tensor
    """The numbers of the sequences. A mask that is shared along time is drawn for each sequence. A
    stream of text is one sequence."""

    @classmethod
    def of_examples(cls, first: int, batch: int, steps: int, device: torch.device) -> "Places":
        """T = `steps` steps of `batch` examples of a data set, from example number `first` on."""
        steps_T1 = torch.arange(steps, device=device).unsqueeze(1)
        examples_B = torch.arange(first, first + batch, device=device)
        return cls(steps_T1, examples_B * steps + steps_T1, examples_B)

    @classmethod
    def of_chunks(cls, starts_B: Tensor, length: int, device: torch.device) -> "Places":
        """The chunks of a text that begin at multiples of `length`. Each predicts all its symbols
        but the first."""
        starts_B = starts_B.to(device)
        steps_T1 = torch.arange(length - 1, device=device).unsqueeze(1)
        return cls(steps_T1, starts_B + steps_T1, starts_B // length)
