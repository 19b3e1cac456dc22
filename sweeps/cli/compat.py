"""The private parts of Rich that this package uses. Checked with Rich 15.0;
`tests/sweeps/test_compat.py` fails when another version changes them.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segment


def filtered_console(clean: Callable[[str], str], **options: Any) -> "Console":
    """A `rich.console.Console(**options)` that shows each text as `clean` returns it.

    `_render_buffer` is the one place that all text passes and where it can be told from Rich's own
    control codes. Render hooks, which are public, run before anything has become text.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Filtered(Console):
        def _render_buffer(self, buffer: "Iterable[Segment]") -> str:
            return super()._render_buffer(
                segment if segment.control else Segment(clean(segment.text), segment.style)
                for segment in buffer
            )

    return Filtered(**options)
