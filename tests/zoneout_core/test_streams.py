import itertools

import pytest
import torch

from zoneout_core.masking.streams import PURPOSES, generator, mask_purpose, stream_seed

SEEDS = {
    "init": 1301297677937451844,
    "masks_cells": 4775123789518314015,
    "masks_states": 1315937567009655745,
    "weight_noise": 1954419376032049672,
    "offset": 6200250255896393899,
    "shuffle": 3783595811857856949,
    "examples": 4670251471802121,
    "valid_examples": 3302006917502810234,
}
"""Of trial seed 5 and step 123. Numbers of published trials hang on these."""


def test_seeds_never_change() -> None:
    assert stream_seed(0, "init", counter=0) == 900553517829159482
    assert {purpose: stream_seed(5, purpose, counter=123) for purpose in PURPOSES} == SEEDS


def test_seeds_differ_by_every_part() -> None:
    seeds = [
        stream_seed(seed, purpose, counter=counter)
        for seed, purpose, counter in itertools.product(range(20), PURPOSES, range(50))
    ]
    assert len(set(seeds)) == len(seeds)
    assert len({seed % 2**32 for seed in seeds}) == len(
        seeds
    )  # what the CPU's generator takes of them
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_neighbouring_parts_do_not_run_together() -> None:
    assert stream_seed(1, "init", counter=11) != stream_seed(11, "init", counter=1)
    assert stream_seed(1, "shuffle", counter=23) != stream_seed(12, "shuffle", counter=3)


def test_a_generator_starts_at_its_stream() -> None:
    first, again = (torch.rand(5, generator=generator(7, "shuffle", counter=3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, torch.rand(5, generator=generator(7, "shuffle", counter=4)))


def test_a_purpose_must_be_known() -> None:
    with pytest.raises(AssertionError, match="lunch"):
        stream_seed(0, "lunch", counter=0)
    with pytest.raises(AssertionError, match="lunch"):
        mask_purpose("lunch", 0)


def test_the_first_layer_trains_on_the_streams_own_name() -> None:
    assert mask_purpose("masks_cells", 0) == "masks_cells"
    assert (
        mask_purpose("masks_cells", 2, evaluation=True, static=True)
        == "evaluation.static.masks_cells.layer2"
    )


def test_layers_evaluations_and_static_masks_have_streams_of_their_own() -> None:
    names = ("masks_cells", "masks_states", "masks_variational_recurrent")
    flags = (False, True)
    purposes = [
        mask_purpose(name, layer, evaluation=evaluation, static=static)
        for name, layer, evaluation, static in itertools.product(names, range(12), flags, flags)
    ]
    assert (
        len({stream_seed(0, purpose, counter=0) for purpose in purposes})
        == len(purposes)
        == 3 * 12 * 4
    )
