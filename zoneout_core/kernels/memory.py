"""The fastest product for each shape, kept on disk: a small JSON file for each question.

An answer decides bits, so the first one that is written is final. A run has it in its own folder,
where the lane servers of all nodes and a resumed run find it. Later runs find it in the user's
cache.
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
    """The product to take, and the reason."""

    product: str
    reason: str


def cache_folder() -> Path | None:
    """$XDG_CACHE_HOME/zoneout-sweeps/products, or ~/.cache/zoneout-sweeps/products; None without a
    home."""
    cache_home = os.environ.get("XDG_CACHE_HOME")
    try:
        if cache_home:
            base = Path(cache_home)
        else:
            base = Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "zoneout-sweeps" / "products"


class Memory:
    """The answers of this process, of a run, and of this machine."""

    def __init__(self, run: Path | None = None, cache: Path | None = None) -> None:
        """run, cache: folders, created when they are needed; None = no such folder."""
        self._run = run
        self._cache = cache
        self._known: dict[str, Answer] = {}

    def recall(self, question: str) -> Answer | None:
        """The first answer to a question, where the run's goes before that of this machine; None if
        there is none."""
        if question in self._known:
            return self._known[question]
        answer = _read(self._run, question) or _read(self._cache, question)
        if answer is None:
            return None
        return self._first(question, answer)

    def keep(self, question: str, answer: Answer) -> Answer:
        """Keep an answer, unless another process was faster; returns the answer that counts."""
        return self._first(question, _write(self._cache, question, answer) or answer)

    def keep_for_run(self, question: str, answer: Answer) -> None:
        """Keep an answer that the user chose: for this run, resumed or not, and for no other."""
        _write(self._run, question, answer)

    @property
    def lasts(self) -> bool:
        """Whether answers reach later runs."""
        return self._cache is not None and _usable(self._cache)

    def _first(self, question: str, answer: Answer) -> Answer:
        """The first answer of this process, or of any other process of the run."""
        answer = _write(self._run, question, answer) or answer
        return self._known.setdefault(question, answer)


def _file(folder: Path, question: str) -> Path:
    return folder / f"{hashlib.sha256(question.encode()).hexdigest()[:32]}.json"


def _read(folder: Path | None, question: str) -> Answer | None:
    """The answer in a folder; None if there is none, or it is damaged or of another format."""
    if folder is None:
        return None
    try:
        content = json.loads(_file(folder, question).read_bytes())
        answer = Answer(product=content["product"], reason=content["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if content != _content(question, answer):
        return None
    return answer


def _write(folder: Path | None, question: str, answer: Answer) -> Answer | None:
    """Write an answer atomically, unless there is one; returns the answer that counts, or None if
    the folder cannot be used."""
    if folder is None:
        return None
    file = _file(folder, question)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            first = _read(folder, question)
            if first is not None:
                return first
            part = file.with_suffix(".part")
            part.write_text(json.dumps(_content(question, answer), indent=2) + "\n")
            part.replace(file)
            return answer
    except OSError:
        return None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let in one process at a time. Network file systems lock only files that are open for
    writing."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _content(question: str, answer: Answer) -> dict[str, object]:
    """The content of an answer's file, with its format and a checksum."""
    content: dict[str, object] = {"format": FORMATS["product"], "question": question}
    content |= asdict(answer)
    return content | {"sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest()}


def _usable(folder: Path) -> bool:
    """Whether files can be created in the folder, or in its nearest existing parent."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)
