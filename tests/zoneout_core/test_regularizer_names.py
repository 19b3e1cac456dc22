"""What the project's regularizers are besides what `zoneout_core.conformance` asks of every one."""

import sys
from dataclasses import fields
from typing import get_type_hints

import pytest

from zoneout_core.config import parts
from zoneout_core.config.keys import lane_keys
from zoneout_core.regularizers import Regularizer

PARTS: dict[str, type[Regularizer]] = parts.regularizers()
SHAPE_KEYS = {"gate_form"}
"""Settings that the lanes of a pack share."""
KEYS = {part: f"regularizer.{name}" for name, part in PARTS.items()}
"""Where the settings of each stand in a configuration."""

every_part = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)


@every_part
def test_every_setting_has_a_name_that_tells_its_direction_and_may_differ_between_lanes(
    part: type[Regularizer],
) -> None:
    hints = get_type_hints(part, vars(sys.modules[part.__module__]))
    for field in fields(part):
        assert not (
            hints[field.name] is float and field.name[:2] not in ("z_", "p_")
        ) or field.name.startswith(("sigma_", "beta_", "tau_")), field.name
        assert (f"{KEYS[part]}.{field.name}" in lane_keys()) == (field.name not in SHAPE_KEYS), (
            field.name
        )


@every_part
def test_it_says_where_the_specification_has_it(part: type[Regularizer]) -> None:
    assert "spec" in str(sys.modules[part.__module__].__doc__)
