"""The output-gate variant of recurrent dropout, in all its readings (spec sections 2.4, 9.5).

The paper gives no probability for it. These are the best one of its recurrent dropout and the two
around that.
"""

from search_spaces import Choice, Product, Space, numbers

P_GATE = (0.2, 0.25, 0.5)
FORMS = ("intent", "intent_raw", "literal", "code")


def space(values: tuple[float, ...] | None = P_GATE, forms: tuple[str, ...] = FORMS) -> Space:
    """`values` of p_gate in each of `forms`; None: all of them from 0 to 0.8."""
    return Product(
        (
            Choice("regularizer.output_gate.gate_form", forms),
            numbers("regularizer.output_gate.p_gate", values, 0.0, 0.8),
        )
    )
