"""Ground truth: one lane's LSTM with zoneout, written as the equations are (spec sections 1 and 9.1).

Ordinary autograd, a Python loop over time, no lanes and no cleverness. Every other implementation is tested
against this one, and this one against the oracles.
"""

import torch
from torch import Tensor


def lstm(
    x_TBD: Tensor,
    w_DG: Tensor,
    u_HG: Tensor,
    b_G: Tensor,
    h0_BH: Tensor,
    c0_BH: Tensor,
    mask_cells: Tensor,
    mask_states: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run the cell over x_TBD and return (h_TBH, c_TBH), the carried states after each step.

    Gate blocks of G = 4H are ordered i, f, o, g. The masks broadcast to [T, B, H] and hold 1 (or True) where the
    old value is preserved; at evaluation they hold the probability of preserving instead. The state h is mixed
    from the candidate cell, not from the zoned-out one:

        c~ = f * c' + i * g        c = d_c * c' + (1 - d_c) * c~
        h~ = o * tanh(c~)          h = d_h * h' + (1 - d_h) * h~
    """
    shape = (x_TBD.shape[0], x_TBD.shape[1], u_HG.shape[0])
    d_cells_TBH = mask_cells.to(x_TBD.dtype).expand(shape)
    d_states_TBH = mask_states.to(x_TBD.dtype).expand(shape)
    h, c = h0_BH.expand(shape[1:]), c0_BH.expand(shape[1:])
    hs, cs = [], []
    for x, d_c, d_h in zip(x_TBD, d_cells_TBH, d_states_TBH, strict=True):
        a_i, a_f, a_o, a_g = (x @ w_DG + h @ u_HG + b_G).chunk(4, dim=-1)
        i, f, o, g = torch.sigmoid(a_i), torch.sigmoid(a_f), torch.sigmoid(a_o), torch.tanh(a_g)
        candidate = f * c + i * g
        c = d_c * c + (1 - d_c) * candidate
        h = d_h * h + (1 - d_h) * (o * torch.tanh(candidate))
        hs.append(h)
        cs.append(c)
    return torch.stack(hs), torch.stack(cs)
