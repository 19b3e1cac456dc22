"""Where the panels of a heatmap are, and all that stands around them. In inches, from the lower
left corner.

All places are computed here: a layout engine's differ in their last digits from one drawing to the
next, and with them the bytes.
"""

import math
from dataclasses import dataclass

from analysis.plane import Plane

_WIDEST = 20.0
"""Of a row with more than one panel."""
LINE, CHARACTER = 0.2, 0.0075
"""Height of a line of the text around the panels, and width of a character for each point of its
size."""
MARGIN, AXIS_NAME, TICKS = 0.13, 0.3, 0.26
"""At the figure's edge; beside the panels, for the name of an axis; below each panel, for its
values."""
RIGHT, BAR, BAR_GAP = 1.4, 0.16, 0.2
"""Of the panels: the colour bar with its numbers and name; its own width; and what lies before
it."""
_HIGHEST_NAME = 3.1
"""The height that the names of the vertical axis and of the colours need."""


@dataclass(frozen=True, kw_only=True)
class FigureLayout:
    """Where everything is, from the lower left corner."""

    width: float
    height: float
    rows: int
    columns: int
    panel: tuple[float, float]
    """Width and height of a panel's cells."""
    gap: tuple[float, float]
    """Between panels; the vertical one lies above each panel and below the one above it."""
    left: float
    top: float
    """Where the first panel begins, its title not counted."""

    def place(self, number: int) -> tuple[float, float]:
        """The lower left corner of a panel."""
        row, column = divmod(number, self.columns)
        across, down = (size + gap for size, gap in zip(self.panel, self.gap, strict=True))
        return self.left + column * across, self.top - self.panel[1] - row * down

    @property
    def middle(self) -> tuple[float, float]:
        """Of all panels together."""
        (x0, y0), (x1, y1) = self.place(self.rows * self.columns - 1), self.place(0)
        return (x1 + x0 + self.panel[0]) / 2, (y0 + y1 + self.panel[1]) / 2

    def box(
        self, left: float, bottom: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """As shares of the figure."""
        return left / self.width, bottom / self.height, width / self.width, height / self.height


def _arranged(plane: Plane) -> tuple[int, int]:
    """Rows and columns of panels: the values of the last key side by side, where they fit."""
    number = len(plane.panels)
    side_by_side = len({str(list(panel.held.values())[-1:]) for panel in plane.panels})
    fitting = max(1, int(_WIDEST / (cells_width(plane) + _ticks_width(plane))))
    columns = min(side_by_side if side_by_side <= 4 else math.ceil(math.sqrt(number)), fitting)
    return math.ceil(number / columns), columns


def width(plane: Plane) -> float:
    """That the panels want, with all around them."""
    return (
        MARGIN
        + AXIS_NAME
        + RIGHT
        + _arranged(plane)[1] * (cells_width(plane) + _ticks_width(plane))
    )


def cells_width(plane: Plane) -> float:
    """That a panel wants for its cells."""
    columns = len(plane.axes.x)
    if len(plane.panels) > 1:
        return max(2.0, 0.78 * columns)
    return max(3.9, 0.95 * columns)


def _ticks_width(plane: Plane) -> float:
    """Left of each panel: the values of the vertical axis, and air."""
    if len(plane.panels) == 1:
        size = 11
    else:
        size = 9
    return 0.25 + CHARACTER * size * max(len(f"{value:g}") for value in plane.axes.y)


def of(plane: Plane, width: float, head: float, foot: float, title_lines: int) -> FigureLayout:
    """With so much above and below the panels; they fill the width, and are high enough for what
    stands beside them."""
    rows, columns = _arranged(plane)
    ticks = _ticks_width(plane)
    across = (width - MARGIN - AXIS_NAME - RIGHT) / columns - ticks
    if title_lines:
        title = 0.08 + LINE * title_lines
    else:
        title = 0.0
    between = title + TICKS + 0.08
    if len(plane.panels) > 1:
        high = 0.6 * len(plane.axes.y)
    else:
        high = 0.8 * len(plane.axes.y)
    high = max(high, (_HIGHEST_NAME - (rows - 1) * between) / rows)
    height = head + title + rows * high + (rows - 1) * between + TICKS + AXIS_NAME + foot
    return FigureLayout(
        width=width,
        height=height,
        rows=rows,
        columns=columns,
        panel=(across, high),
        gap=(ticks, between),
        left=MARGIN + AXIS_NAME + ticks,
        top=height - head - title,
    )
