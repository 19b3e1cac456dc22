"""From three texts to a corpus of token ids. Shared by the tasks of characters and words."""

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

    Where valid and test add no symbol, as in PTB, that is the vocabulary of the training text.
    """
    vocabulary = tuple(sorted(set(train) | set(valid) | set(test)))
    return assemble(
        name, variant, vocabulary, [_characters(text, vocabulary) for text in (train, valid, test)]
    )


def corpus_of_words(
    name: str, variant: str, train: list[str], valid: list[str], test: list[str]
) -> Corpus:
    """The same with words as symbols (at most 65,536)."""
    vocabulary = tuple(sorted(set(train) | set(valid) | set(test)))
    assert len(vocabulary) <= 2**16, "token ids are two bytes"
    ids = {word: i for i, word in enumerate(vocabulary)}
    parts: list[Tokens] = [
        np.array([ids[word] for word in words], np.uint16) for words in (train, valid, test)
    ]
    return assemble(name, variant, vocabulary, parts)


def assemble(name: str, variant: str, vocabulary: tuple[str, ...], parts: list[Tokens]) -> Corpus:
    """The corpus of the parts train, valid and test, each ids [N], with its digest."""
    train, valid, test = parts
    digest = _digest(vocabulary, parts)
    return Corpus(
        name=name,
        variant=variant,
        train=train,
        valid=valid,
        test=test,
        vocabulary=vocabulary,
        sha256=digest,
    )


def _characters(text: str, vocabulary: tuple[str, ...]) -> Tokens:
    """uint8 ids [N] of the N code points of `text`, from a table by code point."""
    assert len(vocabulary) <= 256, "token ids are bytes"
    points = np.array([ord(symbol) for symbol in vocabulary])
    table = np.zeros(points.max() + 1, np.uint8)
    table[points] = np.arange(len(points))
    tokens: Tokens = table[np.frombuffer(text.encode("utf-32-le"), "<u4")]
    return tokens


def _digest(vocabulary: tuple[str, ...], parts: list[Tokens]) -> str:
    """SHA-256 of the content: a JSON head with vocabulary and lengths, then the ids of train,
    valid, test."""
    head = {"vocabulary": vocabulary, "lengths": [len(part) for part in parts]}
    digest = hashlib.sha256(json.dumps(head).encode())
    for part in parts:
        digest.update(part.tobytes())
    return digest.hexdigest()
