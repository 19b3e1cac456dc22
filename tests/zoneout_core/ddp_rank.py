"""One of two processes of data-parallel training: python -m tests.zoneout_core.ddp_rank RANK
FOLDER.

Writes its own gradients (before they are averaged) and those that DistributedDataParallel made of
both.
"""

import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from zoneout_core import ZoneoutLSTM


def main(rank: int, folder: Path) -> None:
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    torch.manual_seed(
        rank
    )  # which DistributedDataParallel makes up for: everyone starts from rank 0's weights
    module = ZoneoutLSTM(3, 5, num_layers=2, z_cells=torch.full((5,), 0.5), z_states=0.3)
    parallel = DistributedDataParallel(module)
    x_TBD = torch.randn(6, 4, 3)

    def gradients(run: nn.Module) -> list[Tensor]:
        module.zero_grad()
        torch.manual_seed(100 + rank)
        output, (_, c_n) = run(x_TBD)
        (output.square().sum() + c_n.sum()).backward()
        return [p.grad.clone() for p in module.parameters() if p.grad is not None]

    torch.save({"own": gradients(module), "together": gradients(parallel)}, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
