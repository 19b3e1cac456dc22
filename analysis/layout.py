"""The geometry of a heatmap: the positions of its panels and the space around them, in inches from
the lower left corner.

Every position is computed here. A layout engine's positions differ in their last digits between two
drawings, and so would the bytes of the files.
"""

import math
from dataclasses import dataclass

from analysis.plane import Plane

_WIDEST = 20.0
"""The width of a row with more than one panel."""
LINE, CHARACTER = 0.2, 0.0075
"""The height of a line of text around the panels, and the width of a character per point of font
size."""
MARGIN, AXIS_NAME, TICKS = 0.13, 0.3, 0.26
"""The space at the figure's edge, for the name of an axis, and for the values below each panel."""
RIGHT, BAR, BAR_GAP = 1.4, 0.16, 0.2
"""The space to the right of the panels, the width of the colour bar in it, and the gap before the
bar."""
_HIGHEST_NAME = 3.1
"""The height that the names of the vertical axis and of the colours need."""


@dataclass(frozen=True, kw_only=True)
class FigureLayout:
    """Sizes and positions, from the lower left corner."""

    width: float
    height: float
    rows: int
    columns: int
    panel: tuple[float, float]
    """Width and height of a panel's cells."""
    gap: tuple[float, float]
    """Between panels, across and down."""
    left: float
    top: float
    """The upper left corner of the first panel, below its title."""

    def place(self, number: int) -> tuple[float, float]:
        """The lower left corner of a panel."""
        row, column = divmod(number, self.columns)
        across, down = (size + gap for size, gap in zip(self.panel, self.gap, strict=True))
        return self.left + column * across, self.top - self.panel[1] - row * down

    @property
    def middle(self) -> tuple[float, float]:
        """The centre of all panels together."""
        (x0, y0), (x1, y1) = self.place(self.rows * self.columns - 1), self.place(0)
        return (x1 + x0 + self.panel[0]) / 2, (y0 + y1 + self.panel[1]) / 2

    def box(
        self, left: float, bottom: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """A rectangle as shares of the figure, as matplotlib takes it."""
        return left / self.width, bottom / self.height, width / self.width, height / self.height


def _arranged(plane: Plane) -> tuple[int, int]:
    """Rows and columns of panels. The values of the last key stand side by side where they fit."""
    number = len(plane.panels)
    side_by_side = len({str(list(panel.held.values())[-1:]) for panel in plane.panels})
    fitting = max(1, int(_WIDEST / (cells_width(plane) + _ticks_width(plane))))
    if side_by_side > 4:
        side_by_side = math.ceil(math.sqrt(number))
    columns = min(side_by_side, fitting)
    return math.ceil(number / columns), columns


def width(plane: Plane) -> float:
    """The width that the panels and the space around them need."""
    return (
        MARGIN
        + AXIS_NAME
        + RIGHT
        + _arranged(plane)[1] * (cells_width(plane) + _ticks_width(plane))
    )


def cells_width(plane: Plane) -> float:
    """The width that the cells of a panel need."""
    columns = len(plane.axes.x)
    if len(plane.panels) > 1:
        return max(2.0, 0.78 * columns)
    return max(3.9, 0.95 * columns)


def _ticks_width(plane: Plane) -> float:
    """The width of the values to the left of each panel, with some margin."""
    if len(plane.panels) == 1:
        size = 11
    else:
        size = 9
    return 0.25 + CHARACTER * size * max(len(f"{value:g}") for value in plane.axes.y)


def of(plane: Plane, width: float, head: float, foot: float, title_lines: int) -> FigureLayout:
    """The layout of a figure of this width, with `head` above and `foot` below the panels.

    The panels fill the width and are high enough for the text beside them.
    """
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
