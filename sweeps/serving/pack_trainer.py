"""The trainer of a lane server: packs of `zoneout_core`, with their data, device, threads and
checkpoints. Imports torch."""

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError
from zoneout_core.kernels import check_precision, fastest_product
from zoneout_core.kernels.memory import Memory, cache_folder
from zoneout_core.records import EpochRecord, LaneEnd, LaneWarning, Placement, TrialState
from zoneout_core.tasks import load_data
from zoneout_core.training import checkpoint, subnormals
from zoneout_core.training.lane import completed
from zoneout_core.training.pack import Pack


class PackTrainer:
    """The lanes of one shape: a pack, and a folder per trial for its checkpoints."""

    def __init__(
        self, config: TrialConfig, data: object, capacity: int, device: str, checkpoints: Path
    ) -> None:
        self._pack = Pack(config, data, capacity=capacity, device=device)
        self._checkpoints = checkpoints
        self._device, self._capacity = device, capacity

    def placement(self, config: TrialConfig) -> Placement:
        """Where and how a trial of this configuration trains here."""
        choice = self._pack.choice(config)
        if self._device == "cpu":
            reason = choice.reason + subnormals.note()
            device = self._device
        else:
            reason = choice.reason
            device = torch.cuda.get_device_name(self._device)
        return Placement(
            implementation=choice.implementation,
            implementation_reason=reason,
            device=device,
            host=socket.gethostname(),
            threads=torch.get_num_threads(),
            lanes=self._capacity,
        )

    def admit(self, trial: int, config: TrialConfig) -> list[EpochRecord | LaneEnd | LaneWarning]:
        """Take a trial in where its checkpoint left it. Returns what it had reported before, its
        end included.

        A checkpoint that is damaged, or belongs to another trial or configuration, is not used and
        gives a warning: the trial goes on from the one before, or begins anew, and trains to the
        same numbers.
        """
        check = partial(self._pack.check, trial=trial, config=config)
        state, problems = checkpoint.restore(self._folder(trial), check)
        items: list[EpochRecord | LaneEnd | LaneWarning] = []
        if problems:
            if state:
                start = f"goes on after epoch {len(state.records)}"
            else:
                start = "begins anew"
            causes = " ".join(map(str, problems))
            text = f"Trial {trial} {start}, to the same numbers: {causes}"
            items.append(LaneWarning(trial=trial, text=text))
        if state is None:
            self._pack.admit(trial, config)
            return items
        items += state.records
        if state.records and state.records[-1].final is not None:
            reason = completed(config, state.records)
            assert reason is not None, "only the last record has final metrics"
            return [*items, LaneEnd(trial=trial, state=TrialState.COMPLETE, reason=reason)]
        self._pack.admit(trial, config, state)
        return items

    def step(self) -> list[EpochRecord | LaneEnd]:
        """Make one update of every lane."""
        return self._pack.update()

    def save(self, trial: int) -> None:
        """Write the trial's checkpoint. Raises `CheckpointError`."""
        checkpoint.save(self._folder(trial), self._pack.state(trial))

    def evict(self, trial: int) -> None:
        """Remove a trial, unless it has already left because it ended."""
        if trial in self._pack.trials:
            self._pack.evict(trial)

    def _folder(self, trial: int) -> Path:
        return self._checkpoints / f"{trial:05d}"


def pack_builder(
    data: Path,
    checkpoints: Path,
    device: str,
    threads: int,
    *,
    products: Path | None = None,
    force: bool = False,
) -> Callable[[TrialConfig, int], PackTrainer]:
    """The function with which `LaneServer` builds its packs. Sets the thread count of this process,
    which decides bits on a CPU.

    products: the run's folder that says which matrix product is the fastest on each machine, which
    decides bits too. force: train in a precision that the processor has to emulate; without it,
    building raises `ConfigError`. Raises `ConfigError` when `device` is `cuda` and there is none.
    """
    torch.set_num_threads(threads)
    fastest_product.remember(Memory(run=products, cache=cache_folder()))
    chosen = choose_device(device)
    loaded: dict[tuple[str, str], object] = {}

    def build(config: TrialConfig, capacity: int) -> PackTrainer:
        check_precision(config.precision, chosen, force=force)
        key = (config.task, config.variant)
        if key not in loaded:
            loaded[key] = load_data(*key, data)
        return PackTrainer(config, loaded[key], capacity, chosen, checkpoints)

    return build


def choose_device(device: str) -> str:
    """`cuda` or `cpu`; `auto` means CUDA where there is a device. Raises `ConfigError` for a `cuda`
    that does not exist."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device=cuda needs a CUDA device, but torch finds none on this machine. Use --set"
            " device=auto or --set device=cpu."
        )
    if device != "cpu" and torch.cuda.is_available():
        return "cuda"
    return "cpu"
