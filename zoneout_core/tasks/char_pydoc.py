"""Text by character that every CPython contains: the prose of its language reference. Needs no
files.

It saves a download in tests, demonstrations and first runs; nothing published is measured on it.
The text is that of `pydoc_data.topics` and depends on the Python version: the SHA-256 of the corpus
on a run identifies it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from zoneout_core.tasks import Corpus, Task

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def load(_data_dir: Path, variant: str) -> Corpus:
    """The first 90 % of the characters are train, the next 5 % valid, the last 5 % test."""
    from pydoc_data.topics import topics

    from zoneout_core.tasks import _text

    text = limit(prose(topics))
    first, second = len(text) * 90 // 100, len(text) * 95 // 100
    return _text.corpus(TASK.name, variant, text[:first], text[first:second], text[second:])


def prose(topics: Mapping[str, str]) -> str:
    """All topics in the order of their names, each paragraph once.

    Topics contain one another (a fifth of the text is repeats), which would put training text into
    test.
    """
    paragraphs = (p.strip("\n") for name in sorted(topics) for p in topics[name].split("\n\n"))
    return "\n\n".join(dict.fromkeys(p for p in paragraphs if p)) + "\n"


def limit(text: str, symbols: int = 256) -> str:
    """`text` with at most `symbols` distinct symbols: the rarest become U+FFFD, ties by code point.

    CPython 3.11 has 103 and loses none; a future text may have more than fit into a byte.
    """
    counts = Counter(text)
    if len(counts) <= symbols:
        return text
    by_count = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    return text.translate({ord(symbol): REPLACEMENT for symbol in by_count[symbols - 1 :]})


TASK = Task(
    name="char_pydoc",
    description=(
        "Characters of Python's own language reference; needs no files, nothing published is"
        " measured on it"
    ),
    variants=("topics",),
    load=load,
)
