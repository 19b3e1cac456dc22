"""From three strings to a corpus of token ids. Shared by the character tasks."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from zoneout_core.tasks import Corpus

if TYPE_CHECKING:
    from zoneout_core.tasks import Tokens


def corpus(name: str, variant: str, train: str, valid: str, test: str) -> Corpus:
    """Encode every code point as its rank among the symbols of all three parts (at most 256).

    Wherever valid and test bring no symbol of their own, as in PTB, that is the training text's vocabulary.
    """
    vocabulary = tuple(sorted(set(train) | set(valid) | set(test)))
    parts = [_encode(text, vocabulary) for text in (train, valid, test)]
    return Corpus(
        name=name,
        variant=variant,
        train=parts[0],
        valid=parts[1],
        test=parts[2],
        vocabulary=vocabulary,
        sha256=_digest(vocabulary, parts),
    )


def _encode(text: str, vocabulary: tuple[str, ...]) -> Tokens:
    """uint8 ids [N] of the N code points of `text`, by a table from code point to id."""
    assert len(vocabulary) <= 256, "token ids are bytes"
    points = np.array([ord(symbol) for symbol in vocabulary])
    table = np.zeros(points.max() + 1, np.uint8)
    table[points] = np.arange(len(points))
    tokens: Tokens = table[np.frombuffer(text.encode("utf-32-le"), "<u4")]
    return tokens


def _digest(vocabulary: tuple[str, ...], parts: list[Tokens]) -> str:
    """SHA-256 of the content: a JSON head with vocabulary and lengths, then the ids of train, valid, test."""
    head = {"vocabulary": vocabulary, "lengths": [len(part) for part in parts]}
    digest = hashlib.sha256(json.dumps(head).encode())
    for part in parts:
        digest.update(part.tobytes())
    return digest.hexdigest()
