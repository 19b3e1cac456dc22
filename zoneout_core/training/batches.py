"""The symbols that a lane reads at each update (spec sections 2.2, 3). They depend only on its seed
and its number of updates.

An epoch cuts the text into consecutive chunks of L characters, from an offset drawn anew for each
epoch (or from 0), and shuffles them. A chunk gives T = L - 1 inputs and T targets; its first
character is never a target.
"""

import torch
from torch import Tensor

from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError
from zoneout_core.masking import streams


def chunk_count(characters: int, length: int, offset: str) -> int:
    """Chunks in an epoch over a text of `characters`; one less with a random offset."""
    return characters // length - (1 if offset == "random" else 0)


class Batches:
    """The batches of one lane.

    Raises `ConfigError` when the text (of `characters`) is shorter than one chunk.
    """

    def __init__(self, config: TrialConfig, characters: int) -> None:
        self.config = config
        self.chunks = chunk_count(characters, config.sequence_length, config.offset)
        if self.chunks < 1:
            raise ConfigError(
                "sequence_length must leave at least one chunk per epoch, but is"
                f" {config.sequence_length} with"
                f" offset={config.offset} on {characters} characters of training text. Set a"
                " smaller sequence_length or a larger train_fraction."
            )
        self.epoch_updates = -(-self.chunks // config.batch_size)
        """Updates in an epoch; the last batch may be short."""
        self._epoch = 0
        self._starts = torch.empty(0, dtype=torch.int64)

    def epoch(self, updates: int) -> int:
        """The epoch, from 1, of the update that follows `updates` updates."""
        return updates // self.epoch_updates + 1

    def starts(self, updates: int) -> Tensor:
        """The starts of the chunks of the update that follows `updates` updates: int64 [at most B],
        on the CPU."""
        epoch = self.epoch(updates)
        if epoch != self._epoch:
            self._epoch = epoch
            self._starts = self._order(epoch)
        first = updates % self.epoch_updates * self.config.batch_size
        return self._starts[first : first + self.config.batch_size]

    def _order(self, epoch: int) -> Tensor:
        """Starts of all chunks of an epoch, shuffled: int64 [chunks]."""
        seed = self.config.seed
        offset = 0
        if self.config.offset == "random":
            draw = torch.randint(
                self.config.sequence_length,
                (),
                generator=streams.generator(seed, "offset", counter=epoch),
            )
            offset = int(draw)
        order = torch.randperm(
            self.chunks, generator=streams.generator(seed, "shuffle", counter=epoch)
        )
        return order * self.config.sequence_length + offset


class Contiguous:
    """A text in `batch` contiguous parts, read side by side: update i sees chunk i of every part
    (spec section 3).

    A chunk gives `length` inputs and as many targets. Raises `ConfigError` when a part is shorter
    than a chunk.
    """

    def __init__(self, symbols: int, batch: int, length: int) -> None:
        self.part = symbols // batch
        """Symbols of a part; the rest at the end of the text is not read."""
        self.length = length
        self.epoch_updates = (self.part - 1) // length
        """Updates in an epoch: 1,327 for words of the Penn Treebank at batch 20 and length 35."""
        self._starts_B = torch.arange(batch) * self.part
        if self.epoch_updates < 1:
            raise ConfigError(
                "sequence_length must leave at least one chunk in each of the batch_size ="
                f" {batch} parts of the text, but is {length} and a part has {self.part} symbols."
                " Set a smaller sequence_length or batch_size, or a larger train_fraction."
            )

    def starts(self, updates: int) -> Tensor:
        """The starts of the chunks of the update that follows `updates` updates: int64 [B], on the
        CPU."""
        return self._starts_B + updates % self.epoch_updates * self.length


def of(config: TrialConfig, symbols: int) -> "Batches | Contiguous":
    """The batches of a lane over a text of this many symbols. Raises `ConfigError` when it is too
    short."""
    if config.carry == "none":
        return Batches(config, symbols)
    return Contiguous(symbols, config.batch_size, config.sequence_length)


def pad(starts: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """(starts int64 [B], weight float64 [B]): a short batch is padded with examples of weight
    zero."""
    missing = batch - len(starts)
    weight_B = torch.ones(batch, dtype=torch.float64)
    weight_B[len(starts) :] = 0.0
    return torch.nn.functional.pad(starts, (0, missing)), weight_B


def cut(text_N: Tensor, starts_KB: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets, each int64 [K, T, B], of the chunks of `length` = T + 1 that begin at
    `starts_KB`."""
    within_L1 = torch.arange(length, device=text_N.device).unsqueeze(1)
    chunks_KLB = text_N[starts_KB.unsqueeze(1) + within_L1].long()
    return chunks_KLB[:, :-1], chunks_KLB[:, 1:]
