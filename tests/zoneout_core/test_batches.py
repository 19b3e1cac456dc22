"""The order of the data: the spec's counts, and a cursor that is the step number alone."""

import pytest
import torch

from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError
from zoneout_core.training.batches import Batches, chunk_count, cut, pad

PTB_446K = 5_059_550
TINY = TrialConfig(sequence_length=5, batch_size=4, seed=3)


def starts_of_epoch(batches: Batches, epoch: int) -> torch.Tensor:
    first = (epoch - 1) * batches.epoch_updates
    return torch.cat([batches.starts(step) for step in range(first, first + batches.epoch_updates)])


def test_counts_of_the_penn_treebank() -> None:
    """Spec sections 2.2 and 13: sizes only, no data is needed."""
    overlapping = Batches(TrialConfig(), PTB_446K)
    assert (overlapping.chunks, overlapping.epoch_updates) == (50_594, 1_582)
    assert len(overlapping.starts(1_581)) == 2
    assert len(overlapping.starts(1_580)) == 32
    assert Batches(TrialConfig(offset="zero"), PTB_446K).chunks == 50_595
    assert chunk_count(396_412, 100, "zero") == 3_964
    assert chunk_count(396_412, 100, "random") == 3_963


def test_an_epoch_sees_each_chunk_once_from_one_offset() -> None:
    batches = Batches(TINY, 103)
    offsets = set()
    for epoch in range(1, 40):
        starts = starts_of_epoch(batches, epoch)
        offset = int(starts.min())
        assert 0 <= offset < 5
        assert sorted(starts.tolist()) == [offset + 5 * i for i in range(19)]
        assert int(starts.max()) + 5 <= 103
        offsets.add(offset)
    assert offsets == {0, 1, 2, 3, 4}


def test_offset_zero_cuts_from_the_start() -> None:
    starts = starts_of_epoch(Batches(TINY.with_values({"offset": "zero"}), 103), 2)
    assert sorted(starts.tolist()) == list(range(0, 100, 5))
    assert starts.tolist() != sorted(starts.tolist()), "the chunks are shuffled"


def test_the_step_number_alone_is_the_cursor() -> None:
    """A fresh cursor at any step, or one that jumped about, gives what one that counted up to it
    gives."""
    counted = Batches(TINY, 103)
    in_order = [counted.starts(step).tolist() for step in range(15)]
    jumping = Batches(TINY, 103)
    for step in (14, 0, 7, 3, 14, 9):
        assert jumping.starts(step).tolist() == in_order[step]
        assert Batches(TINY, 103).starts(step).tolist() == in_order[step]
    assert [counted.epoch(step) for step in (0, 4, 5, 14)] == [1, 1, 2, 3]


def test_epochs_and_seeds_differ_and_the_global_generator_is_not_used() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        torch.manual_seed(epoch * 1000 + seed)
        return starts_of_epoch(Batches(TINY.with_values({"seed": seed}), 503), epoch).tolist()

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)


def test_a_short_batch_is_padded_with_weight_zero() -> None:
    starts_B, weight_B = pad(torch.tensor([7, 9]), 4)
    assert starts_B.tolist() == [7, 9, 0, 0]
    assert weight_B.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_targets_are_the_next_characters() -> None:
    text_N = torch.arange(40, dtype=torch.uint8)
    inputs_KTB, targets_KTB = cut(text_N, torch.tensor([[0, 10], [3, 20]]), 5)
    assert inputs_KTB.shape == targets_KTB.shape == (2, 4, 2)
    assert inputs_KTB[0, :, 1].tolist() == [10, 11, 12, 13]
    assert targets_KTB[1, :, 0].tolist() == [4, 5, 6, 7]
    assert torch.equal(targets_KTB, inputs_KTB + 1)


def test_a_text_without_a_chunk_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Batches(TINY, 9)
    assert str(caught.value) == (
        "sequence_length must leave at least one chunk per epoch, but is 5 with offset=random on 9 characters of training text. "
        "Set a smaller sequence_length or a larger train_fraction."
    )
    assert Batches(TINY, 10).chunks == 1
