"""Which lane broke its pack: those of a broken pack train alone, one after another, past the epoch
in which it broke.

An update that raises does not say whose fault it is: one lane's, or of all together, that are too
many for the device.
"""

from collections.abc import Iterable

OUT_OF_MEMORY = ("can't allocate memory", "Cannot allocate memory", "bad_alloc")


class Isolation:
    """Trials that train with nothing beside them for an epoch, because they could not go on with
    others."""

    def __init__(self) -> None:
        self._trials: set[int] = set()
        self._crowded = False

    def __contains__(self, trial: int) -> bool:
        return trial in self._trials

    def add(self, trials: Iterable[int], error: Exception) -> None:
        """These have to train alone, because of this error."""
        self._trials |= set(trials)
        self._crowded = is_out_of_memory(error)

    def passed(self, trial: int) -> bool:
        """The trial ended an epoch alone. True: so did all of them, that had too little memory
        together."""
        self._trials.remove(trial)
        return self._crowded and not self._trials

    def forget(self, trial: int) -> None:
        """The trial failed or is gone: it may be the one that took too much."""
        if trial in self._trials:
            self._trials.remove(trial)
            self._crowded = False


def in_words(error: Exception) -> str:
    """Why a trial failed, in one line. What is not due to its own arithmetic begins with `out of
    memory`."""
    first = str(error).partition("\n")[0]
    if first:
        told = f"{type(error).__name__}: {first}"
    else:
        told = type(error).__name__
    if is_out_of_memory(error):
        return f"out of memory: {told}"
    return told


def is_out_of_memory(error: Exception) -> bool:
    """Python's error, torch's of a GPU, or those that only their text tells from others."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(sign in str(error) for sign in OUT_OF_MEMORY)
