"""Every example of every regularizer trains in a pack, beside all others of its shape, as it does
alone."""

from typing import Any

import pytest
import torch

from zoneout_core.config.trial import TrialConfig
from zoneout_core.records import EpochRecord
from zoneout_core.regularizers import RegularizerConfig
from zoneout_core.tasks import Corpus
from zoneout_core.training.lane import Lane
from zoneout_core.training.pack import Pack
from zoneout_core.training.workloads.language import Language

SIZES = {
    "hidden_size": 7,
    "batch_size": 4,
    "sequence_length": 11,
    "epochs": 1,
    "train_fraction": 0.2,
    "eval_fraction": 0.1,
    "seed": 5,
}
EXAMPLES = [
    TrialConfig().with_values(SIZES | e)
    for part in RegularizerConfig.kinds()
    for e in part.EXAMPLES
]
SHAPES: dict[str, list[TrialConfig]] = {}
for config in EXAMPLES:
    SHAPES.setdefault(config.shape_key(), []).append(config)


def numbers(configs: list[TrialConfig], corpus: Corpus) -> list[dict[str, Any]]:
    """What each records in a pack of all of them."""
    pack = Pack(configs[0], corpus, capacity=len(configs))
    for trial, config in enumerate(configs):
        pack.admit(trial, config)
    found: dict[int, dict[str, Any]] = {}
    while pack.trials:
        for event in pack.step():
            if isinstance(event, EpochRecord):
                found[event.trial] = event.metrics | dict(event.final or {})
    return [found[trial] for trial in range(len(configs))]


@pytest.mark.parametrize("shape", SHAPES)
def test_in_company_as_alone_and_never_as_without(shape: str, tiny_corpus: Corpus) -> None:
    first = SHAPES[shape][0]
    off = {
        key: first.value(key)
        for key in first.changed()
        if not key.startswith("regularizer.") or "_form" in key
    }
    configs = [TrialConfig().with_values(off), *SHAPES[shape]]
    together = numbers(configs, tiny_corpus)
    for config, found in zip(configs, together, strict=True):
        assert numbers([config], tiny_corpus) == [found], config.changed()
    plain, *regularized = (tuple(found.values()) for found in together)
    assert len(set(regularized)) == len(regularized)
    assert plain not in regularized


def test_the_norm_stabilizer_looks_at_the_carried_state_and_not_at_masked_outputs(
    tiny_corpus: Corpus,
) -> None:
    """Dropping outputs changes the state's norms only through what is learned: nothing in the first
    update."""
    losses = []
    for p_outputs in (0.0, 0.9):
        penalties = []
        for beta_norm in (0.0, 50.0):
            values = {
                "norm_of": "states",
                "beta_norm": beta_norm,
                "p_outputs": p_outputs,
                "precision": "float64",
            }
            config = TrialConfig().with_values(SIZES | values)
            workload = Language(config, tiny_corpus, torch.device("cpu"))
            row_P = workload.initial_row(config)
            lane = Lane(trial=0, config=config, updates=workload.updates(config))
            told = workload.gradients([lane], row_P[None], torch.zeros_like(row_P)[None])
            penalties.append(told[0]["loss"].item())
        losses.append(penalties[1] - penalties[0])
    assert losses[0] > 1e-4
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
