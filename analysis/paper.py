"""The paper's published numbers, and those it quotes: data with a source each, none of them
ours."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DATA = Path(__file__).with_name("paper_results.json")


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published number."""

    task: str
    """As the publication has it; `pmnist` is our task `sequential_mnist`."""
    model: str
    regularizer: str
    params: dict[str, object]
    """What is stated of the regularizer's strength."""
    split: str
    metric: str
    """`bpc`, `perplexity`, `error_rate` or `accuracy`."""
    value: float | list[float]
    """A pair where a sentence compares two systems."""
    source: str
    version: str
    """`final` = the paper; `older` = an earlier text of it; others say where the number comes
    from."""
    own_experiment: bool
    """False where the paper quotes others."""
    notes: str

    @property
    def number(self) -> float:
        """The value, where it is one number."""
        assert isinstance(self.value, float), self
        return self.value


@cache
def numbers() -> tuple[Published, ...]:
    """All of them, in the order of the paper."""
    return tuple(Published(**record) for record in json.loads(DATA.read_text()))


def find(
    task: str,
    regularizer: str,
    split: str,
    *,
    version: str = "final",
    source: str = "",
    **rest: object,
) -> Published:
    """The one number with these fields, whose source holds the text `source`. Raises `LookupError`
    for any other count.

    Table 1's zoneout on characters, for instance, is `find("char_ptb", "zoneout", "test",
    source="Table 1")`.
    """
    wanted = {"task": task, "regularizer": regularizer, "split": split, "version": version} | rest
    found = [
        one
        for one in numbers()
        if source in one.source and all(getattr(one, key) == wanted[key] for key in wanted)
    ]
    if len(found) != 1:
        raise LookupError(
            f"{len(found)} published numbers are {wanted} with {source!r} in their source, not one"
        )
    return found[0]
