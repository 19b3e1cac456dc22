"""Every example of every regularizer trains the same in a pack, with all others of its shape, as
alone."""

import pytest

from zoneout_core.config import parts
from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance import subjects
from zoneout_core.conformance.packs import numbers
from zoneout_core.tasks import Corpus

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
    TrialConfig().with_values(SIZES | example)
    for name in subjects("zoneout_core.regularizers")
    for example in parts.regularizer(name).EXAMPLES
]
SHAPES: dict[str, list[TrialConfig]] = {}
for config in EXAMPLES:
    SHAPES.setdefault(config.shape_key(), []).append(config)


@pytest.mark.parametrize("shape", SHAPES)
def test_in_company_as_alone_and_never_as_without(shape: str, tiny_corpus: Corpus) -> None:
    """A trial has the numbers that it has alone, to the bit. They differ from those without the
    regularizer and from those of every other example."""
    first = SHAPES[shape][0]
    off = {
        key: first.value(key)
        for key in first.changed()
        if not key.startswith("regularizer.") or "_form" in key
    }
    configs = [TrialConfig().with_values(off), *SHAPES[shape]]
    together = numbers(configs, tiny_corpus)
    for config, metrics in zip(configs, together, strict=True):
        assert numbers([config], tiny_corpus) == [metrics], config.changed()
    plain, *regularized = (tuple(metrics.values()) for metrics in together)
    assert len(set(regularized)) == len(regularized)
    assert plain not in regularized
