"""How gradients reach back through time (Figure 6): their shares by time step, and the drawing of
these."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis import style
from analysis.confidence import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATES = {"c": r"$\|\partial L/\partial c_t\|$", "h": r"$\|\partial L/\partial h_t\|$"}
"""The vertical axis of each state."""

FLOOR = 1e-9
"""Smaller shares are not shown, since they would squeeze all other curves together."""


@dataclass(frozen=True, kw_only=True)
class Propagation:
    """One system's curve for one state: each time step's share of the gradient norms' sum."""

    title: str
    colour: int
    state: str
    share: tuple[float, ...]
    """By step, from t = 1; sums to 1. The mean over seeds."""
    seeds: int


def compute(frame: "pd.DataFrame", systems: Mapping[str, str]) -> list[Propagation]:
    """The curves of the systems, {label: title}, from a line per `label seed state step` with its
    `share`."""
    curves = []
    for colour, (label, title) in enumerate(systems.items()):
        trials = frame[frame["label"] == label]
        for state in STATES:
            shares = trials[trials["state"] == state]
            assert not shares.duplicated(["seed", "step"]).any(), (
                f"{label}: a mean over something else than seeds"
            )
            share = tuple(
                Estimate(tuple(group["share"])).mean
                for _, group in shares.groupby("step", sort=True)
            )
            if share:
                seeds = int(shares["seed"].nunique())
                curves.append(
                    Propagation(title=title, colour=colour, state=state, share=share, seeds=seeds)
                )
    return curves


def draw(curves: list[Propagation], title: str, subtitle: str) -> "Figure":
    """A panel for cells and one for states: normalised gradient norm against the time step."""
    figure = style.figure(12.4, 5.0)
    handles: dict[str, object] = {}
    for number, state in enumerate(STATES):
        axes = figure.add_subplot(1, 2, number + 1)
        style.title(axes, title if number == 0 else " ", subtitle if number == 0 else " ")
        style.frame(axes, "time step t", f"{STATES[state]}, share of the sum over t")
        for curve in curves:
            if curve.state == state:
                handles |= _line(axes, curve)
        axes.set_yscale("log")
        axes.set_ylim(max(FLOOR, axes.get_ylim()[0]), 1.0)
        axes.minorticks_off()
    style.legend(figure, list(handles.values()), columns=3)
    return figure


def _line(axes: "Axes", curve: Propagation) -> dict[str, object]:
    # 0 has no logarithm.
    steps = [step for step, share in enumerate(curve.share, start=1) if share > 0]
    shares = [share for share in curve.share if share > 0]
    name = curve.title + (f" (mean of {curve.seeds} seeds)" if curve.seeds > 1 else "")
    colour = style.COLOURS[curve.colour % len(style.COLOURS)]
    dash = style.DASHES[curve.colour % len(style.DASHES)]
    (line,) = axes.plot(steps, shares, color=colour, linestyle=dash, linewidth=1.7, label=name)
    return {name: line}
