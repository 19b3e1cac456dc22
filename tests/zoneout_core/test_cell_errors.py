"""What a cell refuses, word for word."""

from typing import Any

import pytest

from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError

REFUSED = {
    "lstm-of-others": (
        {"reset": "after"},
        "cell.reset is a setting of cell gru, but model.cell is lstm. Set model.cell=gru too, or leave cell.reset out.",
    ),
    "lstm-carry": (
        {"p_gate": 0.25, "carry": "zero"},
        "carry must be none with masks on the output gate, whose last value does not go on from chunk to chunk, but is 'zero'. Set it with --set carry=VALUE.",
    ),
    "gru": (
        {"cell": "gru", "forget_constant": 1.0},
        "model.forget_constant must be 0 with model.cell=gru, whose biases have no place for it, but is 1.0. Set it with --set model.forget_constant=VALUE.",
    ),
    "bn_lstm-batch": (
        {"cell": "bn_lstm", "batch_size": 1},
        "batch_size must be at least 2 with model.cell=bn_lstm: one example has no spread, but is 1. Set it with --set batch_size=VALUE.",
    ),
    "bn_lstm-carry": (
        {"cell": "bn_lstm", "carry": "zero"},
        "carry must be none with model.cell=bn_lstm, whose statistics belong to steps counted from the start of a sequence, but is 'zero'. Set it with --set carry=VALUE.",
    ),
    "bn_lstm-rate": (
        {"cell": "bn_lstm", "population_rate": 0.0},
        "cell.population_rate must be above 0 and at most 1, but is 0.0. Set it with --set cell.population_rate=VALUE.",
    ),
    "hm_lstm-layers": (
        {"cell": "hm_lstm", "num_layers": 2},
        "model.num_layers must be 1 with model.cell=hm_lstm, which has three layers in itself, but is 2. Set it with --set model.num_layers=VALUE.",
    ),
    "hm_lstm-untied": (
        {"cell": "hm_lstm", "p_sequence_states": 0.3},
        "regularizer.variational.p_sequence_states must be 0, or of one mask for all gates, with model.cell=hm_lstm, whose matrices hold a boundary beside the gates, but is 0.3. Set it with --set regularizer.variational.p_sequence_states=VALUE.",
    ),
    "hm_lstm-slope": (
        {"cell": "hm_lstm", "slope_growth": -1.0},
        "cell.slope_growth must be at least 0 (0 = a slope of 1), but is -1.0. Set it with --set cell.slope_growth=VALUE.",
    ),
    "hyper_lstm": (
        {"cell": "hyper_lstm", "hyper_embedding": 0},
        "cell.hyper_embedding must be at least 1, but is 0. Set it with --set cell.hyper_embedding=VALUE.",
    ),
    "surprisal_lstm-embedding": (
        {"cell": "surprisal_lstm", "embedding_size": 8},
        "model.embedding_size must be 0 with model.cell=surprisal_lstm, which compares the symbols with what it predicted, but is 8. Set it with --set model.embedding_size=VALUE.",
    ),
    "surprisal_lstm-layers": (
        {"cell": "surprisal_lstm", "num_layers": 2},
        "model.num_layers must be 1 with model.cell=surprisal_lstm, which compares the symbols with what it predicted, but is 2. Set it with --set model.num_layers=VALUE.",
    ),
    "surprisal_lstm-tau": (
        {"cell": "surprisal_lstm", "tau": 1.5},
        "cell.tau must be a probability from 0 to 1, but is 1.5. Set it with --set cell.tau=VALUE.",
    ),
}


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrialConfig().with_values(values)
    assert str(caught.value) == message
