"""What is clipped, and at which norm: the gradient before Adam (paper) or Adam's step (code); spec
section 2.3.

The two have different scales, so each has its own norms: a conditional space.
"""

from search_spaces import Choice, Space, Switch

GRADIENT_NORMS = (0.25, 1.0, 4.0)
UPDATE_NORMS = (0.5, 1.0, 2.0)


def space(
    gradient: tuple[float, ...] = GRADIENT_NORMS, update: tuple[float, ...] = UPDATE_NORMS
) -> Space:
    """Gradient clipping at a norm in `gradient`, or update clipping at a norm in `update`."""
    return Switch(
        "optim.clip",
        (
            ("gradient", Choice("optim.clip_norm", gradient)),
            ("update", Choice("optim.clip_norm", update)),
        ),
    )
