"""Random draws that published numbers hang on, pinned: a rename or a move that changes one fails
here.

Pinned are bits that no processor rounds: where a mask lets through, the signs of initial
parameters, orders and starts. What is new is pinned by adding the line that `python -m
tests.zoneout_core.test_pinned_draws` prints.
"""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from zoneout_core import regularizers
from zoneout_core.config import parts, registry
from zoneout_core.config.trial import TrialConfig
from zoneout_core.masking import drawing
from zoneout_core.masking.drawing import LayerShape, MaskDraw
from zoneout_core.masking.places import Places
from zoneout_core.network.init import InitialDraw
from zoneout_core.training.batches import Batches

SEED, UPDATE, LAYER = 7, 12, 1
SHAPE = LayerShape(steps=9, batch=5, inputs=6, hidden=8)
EMBEDDING = LayerShape(steps=1, batch=5, inputs=30, hidden=0)

REGULARIZERS: dict[str, tuple[str, ...]] = {
    "evaluation_masks": ("887d9c094f5c", "ce48cc017d5d", "0ff64e264a01", "f91674f2c9de"),
    "gaussian_masks": ("2a955190d083", "4be743ae7c40", "065b4c55ad40", "9a4de40b6efb"),
    "input_dropout": ("ac807ae09631", "1e51586cb6ac", "ac807ae09631", "1e51586cb6ac"),
    "naive_dropout": (
        "ef56b5f2e7bf",
        "ef2ad68063df",
        "00f28ceb0989",
        "3827dfbee457",
        "825db1817740",
        "d20b67d5c654",
    ),
    "non_recurrent_dropout": (
        "697d83776092",
        "d12891ddeadd",
        "7aa423fe9b95",
        "efcc1d1436c8",
        "ce2407dd6993",
        "be888e4ac194",
    ),
    "output_gate": (
        "b0c86f9a83c3",
        "1a73797aa2f0",
        "b0c86f9a83c3",
        "1a73797aa2f0",
        "b0c86f9a83c3",
        "1a73797aa2f0",
        "b0c86f9a83c3",
        "1a73797aa2f0",
    ),
    "recurrent_dropout": (
        "0ff64e264a01",
        "f91674f2c9de",
        "0ff64e264a01",
        "f91674f2c9de",
        "0ff64e264a01",
        "f91674f2c9de",
        "81ebecaea06f",
        "a6a596a0bfd4",
        "81ebecaea06f",
        "a6a596a0bfd4",
    ),
    "rnn_drop": ("7bd0cff21c2c", "a74b4e8ee848"),
    "static_masks": (
        "75cb97931ad6",
        "75cb97931ad6",
        "75cb97931ad6",
        "3e5fef276659",
        "75cb97931ad6",
        "3e5fef276659",
    ),
    "stochastic_depth": (
        "4269d39a05bf",
        "461498fdf9aa",
        "8dbc17c1ed78",
        "2e57fc5037d5",
        "8f91433c220f",
        "139b14d4ea19",
        "f51418dea34d",
        "b7cdc8566a01",
    ),
    "surprisal": ("f25f8b17f674", "47e2512f910b", "f25f8b17f674", "47e2512f910b"),
    "variational": (
        "812205f25163",
        "a36e4d15c86e",
        "71e68434750f",
        "5d29b5382312",
        "c621714a3ecb",
        "cc55194c6681",
        "687b79751459",
        "70be71a26b4e",
    ),
    "zoneout": (
        "887d9c094f5c",
        "ce48cc017d5d",
        "ec63a4533630",
        "f549c937946f",
        "87455c0e621f",
        "e91f4e5218f8",
        "43d118be5d3f",
        "01540bba35ba",
    ),
}
"""Two digests for each of its examples; those that draw no mask are not here."""
CELLS = {
    "bn_lstm": "7561a7902534",
    "gru": "d67aa6f77d3b",
    "hm_lstm": "7ea572b74907",
    "hyper_lstm": "80612b3b05b3",
    "ln_lstm": "caf9bf438fa4",
    "lstm": "f1c020467a3e",
    "rnn": "f3dd46cd5875",
    "surprisal_lstm": "a8b3a40e88bc",
}
INITS = {
    "blocks": "e7bd2515da89",
    "orthogonal": "b4dc0cf89379",
    "uniform": "24a4c32ab28f",
    "identity": "c5444fe18038",
}
OFFSETS = {
    "random": "175f9624b4b7",
    "zero": "6c714824fe30",
}


def digest(bits: list[Tensor]) -> str:
    """Of the truth values of all these tensors, in order."""
    raw = b"".join(bytes(value.flatten().to(torch.uint8).tolist()) for value in bits)
    return hashlib.blake2b(raw, digest_size=6).hexdigest()


def examples(name: str) -> tuple[dict[str, Any], ...]:
    part = registry.load("zoneout_core.regularizers", name, "regularizer").PART
    found: tuple[dict[str, Any], ...] = part.EXAMPLES
    return found


def mask_bits(example: dict[str, Any], *, evaluation: bool) -> list[Tensor]:
    """Where the masks of an example are above a half, in two layers; in an evaluation all are
    drawn."""
    program = TrialConfig().with_values({"hidden_size": 8} | example).regularizer.program()
    shape = SHAPE
    if evaluation:
        program = regularizers.sampled(program)
        shape = replace(
            SHAPE, places=Places.of_examples(40, SHAPE.batch, SHAPE.steps, torch.device("cpu"))
        )
    bits = []
    for layer in (0, LAYER):
        draw = MaskDraw(
            program=program,
            shape=shape,
            layer=layer,
            seed=SEED,
            counter=UPDATE,
            evaluation=evaluation,
        )
        bits += [mask > 0.5 for mask in drawing.layer_sites(draw).present().values()]
        for gain in (
            drawing.outputs_gain(draw),
            drawing.embedding_gain(replace(draw, shape=EMBEDDING)),
        ):
            bits += [] if gain is None else [gain > 0.5]
    return bits


def regularizer_digests(name: str) -> tuple[str, ...]:
    """Two for each example: of training, and of an evaluation."""
    return tuple(
        digest(mask_bits(example, evaluation=evaluation))
        for example in examples(name)
        for evaluation in (False, True)
    )


def cell_digest(name: str) -> str:
    """Signs of a layer's initial parameters, in the order in which they are drawn."""
    model = TrialConfig().with_values({"cell": name, "hidden_size": 8}).model
    initial = parts.cell(name)().initial(model, 6, InitialDraw(model, SEED))
    return digest([value > 0 for value in initial.values()])


def init_digest(name: str) -> str:
    model = (
        TrialConfig().with_values({"init": name, "hidden_size": 8, "init_biases": "uniform"}).model
    )
    draw, again = InitialDraw(model, SEED), InitialDraw(model, SEED, restart=1)
    return digest(
        [
            draw.matrix(8, 32) > 0,
            draw.bias(32) > 0,
            draw.normal(1.0, 6) > 0,
            again.matrix(8, 32) > 0,
        ]
    )


def offset_digest(name: str) -> str:
    """Where the chunks of two epochs start, and their order."""
    config = TrialConfig().with_values(
        {"offset": name, "seed": SEED, "sequence_length": 10, "batch_size": 4}
    )
    batches = Batches(config, 500)
    starts = torch.cat([batches.starts(update) for update in range(2 * batches.epoch_updates)])
    return hashlib.blake2b(str(starts.tolist()).encode(), digest_size=6).hexdigest()


@pytest.mark.parametrize("name", REGULARIZERS)
def test_masks_of_a_regularizer_are_what_they_always_were(name: str) -> None:
    assert regularizer_digests(name) == REGULARIZERS[name]


@pytest.mark.parametrize("name", CELLS)
def test_initial_parameters_of_a_cell_are_what_they_always_were(name: str) -> None:
    assert cell_digest(name) == CELLS[name]


@pytest.mark.parametrize("name", INITS)
def test_every_way_to_initialise_draws_what_it_always_did(name: str) -> None:
    assert init_digest(name) == INITS[name]


@pytest.mark.parametrize("name", OFFSETS)
def test_an_epoch_reads_its_chunks_in_the_order_it_always_did(name: str) -> None:
    assert offset_digest(name) == OFFSETS[name]


if __name__ == "__main__":
    from zoneout_core import cells

    print({name: regularizer_digests(name) for name in regularizers.names()})
    print({name: cell_digest(name) for name in cells.names()})
    print({name: init_digest(name) for name in ("blocks", "orthogonal", "uniform", "identity")})
    print({name: offset_digest(name) for name in ("random", "zero")})
