"""Finding the lane that broke its pack: the trials of a broken pack train alone, one after another,
past the epoch in which it broke.

An update that raises does not say whether one lane is at fault, or all together because they are
too many for the device. Here is the rule; `LaneServer` catches the error and carries it out.
"""

from collections.abc import Sequence

OUT_OF_MEMORY = ("can't allocate memory", "Cannot allocate memory", "bad_alloc")


class Isolation:
    """The trials that train an epoch alone, because they could not go on with others."""

    def __init__(self) -> None:
        self._trials: set[int] = set()
        self._crowded = False

    def __contains__(self, trial: int) -> bool:
        return trial in self._trials

    def is_at_fault(self, trials: Sequence[int], error: Exception, lanes: int) -> bool:
        """Whether an error that stopped these trials is the fault of one trial: it was alone on
        its device, or was being admitted and the device was not too full for it.

        lanes: how many trials the device has room for.
        """
        if len(trials) > 1:
            return False
        return trials[0] in self or lanes == 1 or not is_out_of_memory(error)

    def add(self, trials: Sequence[int], error: Exception) -> str:
        """Have these trials train alone, because of this error. Returns a sentence that says so."""
        self._trials |= set(trials)
        self._crowded = is_out_of_memory(error)
        subject = f"Trial {trials[0]}"
        if len(trials) > 1:
            subject = f"Trials {', '.join(map(str, trials))}"
        return (
            f"{subject} could not go on with others ({in_words(error)}): each trains an epoch"
            " alone, from its last checkpoint, and only one that cannot has failed."
        )

    def passed(self, trial: int) -> bool:
        """Note that the trial ended an epoch alone. True if now all have, and memory was too short
        for them together."""
        self._trials.remove(trial)
        return self._crowded and not self._trials

    def forget(self, trial: int) -> None:
        """Drop a trial that failed or is gone: it may be the one that took too much memory."""
        if trial in self._trials:
            self._trials.remove(trial)
            self._crowded = False


def in_words(error: Exception) -> str:
    """Why a trial failed, in one line. It begins with `out of memory` where the trial's own
    arithmetic is not to blame."""
    words = type(error).__name__
    first_line = str(error).partition("\n")[0]
    if first_line:
        words += f": {first_line}"
    if is_out_of_memory(error):
        return f"out of memory: {words}"
    return words


def is_out_of_memory(error: Exception) -> bool:
    """Whether it is Python's error, torch's for a GPU, or one that only its text tells from
    others."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(sign in str(error) for sign in OUT_OF_MEMORY)
