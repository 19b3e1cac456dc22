"""Variational dropout of Gal: masks drawn once per sequence and kept over its time steps (spec
sections 9.7, 11.2).

All masks are inverted. An evaluation has none (the mean network). With `mc_passes`, the final
evaluation also averages the probabilities of that many passes, whose masks are drawn once for the
whole text, except those of word types.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from zoneout_core.regularizers import (
    LANE,
    Mask,
    Regularizer,
    Site,
    Surroundings,
    dropout,
    require,
    require_dropped,
)


@dataclass(frozen=True, kw_only=True)
class Variational(Regularizer):
    """Gal takes 0.3 for words and states and 0.5 for inputs and outputs of a model of 1500
    units."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {"variational.p_sequence_states": 0.4},
        {
            "variational.p_sequence_states": 0.4,
            "variational.p_sequence_outputs": 0.5,
            "variational.variational_masks": "tied",
        },
        {
            "variational.p_sequence_words": 0.3,
            "variational.p_sequence_inputs": 0.5,
            "embedding_size": 5,
        },
        {
            "variational.p_sequence_states": 0.3,
            "variational.mc_passes": 2,
            "task": "word_ptb",
            "carry": "zero",
        },
    )

    p_sequence_words: float = field(default=0.0, metadata=LANE)
    """Probability of dropping a word type from a whole sequence: its embedding is zero wherever it
    occurs. Gal takes 0.3; needs an embedding (spec section 9.7)."""
    p_sequence_inputs: float = field(default=0.0, metadata=LANE)
    """Probability of dropping a unit of what a layer reads, for a whole sequence. The first layer
    takes part only where it reads an embedding, because a dropped symbol would be missing
    everywhere. Gal takes 0.5 (spec section 9.7)."""
    p_sequence_states: float = field(default=0.0, metadata=LANE)
    """Probability of dropping a unit of the previous state where the gates read it, for a whole
    sequence. Gal takes 0.3 (spec section 9.7)."""
    p_sequence_outputs: float = field(default=0.0, metadata=LANE)
    """Probability of dropping a unit of the last layer's output, before the softmax, for a whole
    sequence. Gal takes 0.5 (spec section 9.7)."""
    variational_masks: Literal["untied", "tied"] = field(default="untied", metadata=LANE)
    """Whether each gate has a mask of its own (`untied`) or all gates share one (`tied`); spec
    section 9.7."""
    mc_passes: int = field(default=0, metadata=LANE)
    """Number of passes of the final Monte Carlo evaluation, which averages predicted probabilities
    over drawn masks. 0 skips it; time grows in proportion, and Gal takes 2000 (spec sections 9.7
    and 11.2)."""

    def __post_init__(self) -> None:
        for name in STRENGTHS:
            require_dropped(f"regularizer.variational.{name}", getattr(self, name), inverted=True)
        require(
            self.mc_passes >= 0,
            "regularizer.variational.mc_passes",
            self.mc_passes,
            "at least 0 (0 = none)",
        )

    @property
    def active(self) -> bool:
        return any(getattr(self, name) > 0 for name in STRENGTHS)

    def check(self, trial: Surroundings) -> None:
        super().check(trial)
        must = (
            "0 with carry=none, since only texts that are read on and on are scored by Monte Carlo"
            " passes"
        )
        require(
            self.mc_passes == 0 or trial.carry != "none",
            "regularizer.variational.mc_passes",
            self.mc_passes,
            must,
        )
        has_embedding = trial.model.embedding_size > 0
        require(
            self.p_sequence_words == 0 or has_embedding,
            "regularizer.variational.p_sequence_words",
            self.p_sequence_words,
            "0 with model.embedding_size=0, since it drops rows of an embedding",
        )
        require(
            self.p_sequence_inputs == 0 or has_embedding or trial.model.num_layers > 1,
            "regularizer.variational.p_sequence_inputs",
            self.p_sequence_inputs,
            "0 with model.embedding_size=0 and one layer, since it would silence whole sequences",
        )

    def program(self) -> tuple[Mask, ...]:
        untied = self.variational_masks == "untied"
        return tuple(
            dropout(
                site,
                f"regularizer.variational.{name}",
                p,
                stream=f"masks_variational_{site}",
                inverted=True,
                shared=frozenset({"time"}),
                gates=untied and site in ("inputs", "recurrent"),
                passes=0 if site == "embedding" else self.mc_passes,
            )
            for name, site in STRENGTHS.items()
            if (p := getattr(self, name)) > 0
        )


STRENGTHS: dict[str, Site] = {
    "p_sequence_words": "embedding",
    "p_sequence_inputs": "inputs",
    "p_sequence_states": "recurrent",
    "p_sequence_outputs": "outputs",
}

PART = Variational
