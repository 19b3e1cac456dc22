"""Drop-in replacements with zoneout for `torch.nn.LSTM`, `torch.nn.GRU` and `torch.nn.RNN`
(docs/modules.md)."""

from zoneout_core.modules.gru import ZoneoutGRU
from zoneout_core.modules.keep_masks import KINDS
from zoneout_core.modules.lstm import ZoneoutLSTM
from zoneout_core.modules.rnn import ZoneoutRNN

__all__ = ["KINDS", "ZoneoutGRU", "ZoneoutLSTM", "ZoneoutRNN"]
