"""What this machine has found out about its products, kept on disk: a small JSON file for each
question.

An answer decides bits. Hence the first one that is written stands: for a run, in the run's own
folder, where every lane server of every node reads it and a resumed run finds it again; for the
runs that follow, in the user's cache.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from zoneout_core.formats import FORMATS


@dataclass(frozen=True, slots=True)
class Answer:
    """Which product, and why."""

    product: str
    reason: str


def cache_folder() -> Path | None:
    """$XDG_CACHE_HOME/zoneout-sweeps/products, or ~/.cache/zoneout-sweeps/products; None without a
    home."""
    chosen = os.environ.get("XDG_CACHE_HOME")
    try:
        if chosen:
            base = Path(chosen)
        else:
            base = Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "zoneout-sweeps" / "products"


class Memory:
    """Answers of this process, of a run, and of this machine."""

    def __init__(self, run: Path | None = None, cache: Path | None = None) -> None:
        """run, cache: folders, made when they are needed; None = there is none."""
        self._run, self._cache = run, cache
        self._known: dict[str, Answer] = {}

    def recall(self, question: str) -> Answer | None:
        """The answer that was given first: the run's own before that of this machine."""
        if question in self._known:
            return self._known[question]
        found = _read(self._run, question) or _read(self._cache, question)
        if found is None:
            return None
        return self._stands(question, found)

    def keep(self, question: str, answer: Answer) -> Answer:
        """Keep an answer, unless another process was first: what stands."""
        return self._stands(question, _write(self._cache, question, answer) or answer)

    def keep_for_run(self, question: str, answer: Answer) -> None:
        """Keep an answer that was asked for, not found out: the run goes on with it, and no other
        begins with it."""
        _write(self._run, question, answer)

    @property
    def lasts(self) -> bool:
        """Whether answers reach the runs that follow."""
        return self._cache is not None and _usable(self._cache)

    def _stands(self, question: str, answer: Answer) -> Answer:
        answer = _write(self._run, question, answer) or answer
        return self._known.setdefault(question, answer)


def _file(folder: Path, question: str) -> Path:
    return folder / f"{hashlib.sha256(question.encode()).hexdigest()[:32]}.json"


def _read(folder: Path | None, question: str) -> Answer | None:
    """None where there is no answer, or one that is damaged or of another format."""
    if folder is None:
        return None
    try:
        told = json.loads(_file(folder, question).read_bytes())
        answer = Answer(product=told["product"], reason=told["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if told == _told(question, answer):
        return answer
    return None


def _write(folder: Path | None, question: str, answer: Answer) -> Answer | None:
    """Write an answer, at once or not at all, unless there is one: what stands there; None where
    nothing can be."""
    if folder is None:
        return None
    file = _file(folder, question)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            stands = _read(folder, question)
            if stands is not None:
                return stands
            part = file.with_suffix(".part")
            part.write_text(json.dumps(_told(question, answer), indent=2) + "\n")
            part.replace(file)
            return answer
    except OSError:
        return None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time, also over a network's file system: hence a file, and one that is open
    for writing."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _told(question: str, answer: Answer) -> dict[str, object]:
    told: dict[str, object] = {"format": FORMATS["product"], "question": question} | asdict(answer)
    return told | {"sha256": hashlib.sha256(json.dumps(told).encode()).hexdigest()}


def _usable(folder: Path) -> bool:
    """Whether files can be made in it, or in the nearest folder above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)
