"""Subnormal numbers become 0 in every thread that trains, and in no thread of whoever uses us."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from zoneout_core.training import subnormals
from zoneout_core.training.subnormals import SMALLEST, TrainingThread

NUMBERS = 1 << 18


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_flush_denormal(False)


def kept() -> dict[str, int]:
    """How many subnormal results there are of each kind of work, forward and backward, shared by
    two threads."""
    small = torch.full((NUMBERS,), SMALLEST)
    ones = torch.ones(256, 256)
    leaf = torch.ones(NUMBERS, requires_grad=True)
    results: dict[str, Tensor] = {"pointwise": small * 0.5}
    results["product"] = (ones * 2.0**-70) @ (ones * 2.0**-70)
    results["backward"] = torch.autograd.grad(leaf * 0.5, leaf, small)[0]
    results["read"] = torch.full((NUMBERS,), 1, dtype=torch.int32).view(torch.float32) * 2.0**100
    return {name: int(value.count_nonzero()) for name, value in results.items()}


ALL = {"pointwise": NUMBERS, "product": 256 * 256, "backward": NUMBERS, "read": NUMBERS}
NONE = dict.fromkeys(ALL, 0)


def test_a_training_thread_flushes_them_in_every_thread_of_torch() -> None:
    """Although the threads that torch shares this one's work with are there already."""
    assert kept() == ALL
    with TrainingThread() as thread:
        assert [thread.run(kept) for _ in range(3)] == [NONE] * 3
        assert thread.run(subnormals.are_flushed)
        assert thread.run(subnormals.note) == ""


def test_the_callers_threads_stay_as_they_are() -> None:
    before = kept()
    with TrainingThread() as thread:
        thread.run(torch.set_num_threads, 1)
        thread.run(kept)
        assert kept() == before == ALL
    assert kept() == ALL
    assert torch.get_num_threads() == 2


def test_a_thread_that_a_training_thread_starts_flushes_too() -> None:
    found: list[dict[str, int]] = []

    def start() -> None:
        other = threading.Thread(target=lambda: found.append(kept()))
        other.start()
        other.join()

    with TrainingThread() as thread:
        thread.run(start)
    assert found == [NONE]


def test_what_it_raises_is_raised_here() -> None:
    with TrainingThread() as thread, pytest.raises(KeyError, match="lost"):
        thread.run({}.__getitem__, "lost")


def test_they_can_be_kept_for_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZONEOUT_FLUSH_SUBNORMALS", "0")
    with TrainingThread() as thread:
        assert thread.run(kept) == ALL
        assert (
            thread.run(subnormals.note)
            == "; subnormal numbers are kept, because of ZONEOUT_FLUSH_SUBNORMALS=0"
        )


def test_where_they_are_kept_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that cannot flush, or a thread that is not ours."""
    monkeypatch.delenv("ZONEOUT_FLUSH_SUBNORMALS", raising=False)
    assert subnormals.note() == "; subnormal numbers are kept, which is slow where gradients vanish"
    monkeypatch.setattr(torch, "set_flush_denormal", lambda mode: False)
    with TrainingThread() as thread:
        assert thread.run(subnormals.note).startswith("; subnormal numbers are kept")
