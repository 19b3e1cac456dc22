"""Published numbers: the paper's own and those that it quotes, each with its source. None is
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
    """The publication's name; `pmnist` is our task `sequential_mnist`."""
    model: str
    regularizer: str
    params: dict[str, object]
    """The regularizer's strength, as far as it was published."""
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
    """All published numbers, in the order of the paper."""
    return tuple(Published(**record) for record in json.loads(DATA.read_text()))


def find(
    task: str,
    regularizer: str,
    split: str,
    *,
    version: str = "final",
    source: str = "",
    **others: object,
) -> Published:
    """The published number with these fields whose source contains `source`. Raises `LookupError`
    unless there is exactly one.

    Table 1's zoneout on characters, for instance, is `find("char_ptb", "zoneout", "test",
    source="Table 1")`.
    """
    fields = {"task": task, "regularizer": regularizer, "split": split, "version": version} | others
    matches = [
        published
        for published in numbers()
        if source in published.source
        and all(getattr(published, key) == fields[key] for key in fields)
    ]
    if len(matches) != 1:
        raise LookupError(
            f"{len(matches)} published numbers are {fields} with {source!r} in their source, not"
            " one"
        )
    return matches[0]
