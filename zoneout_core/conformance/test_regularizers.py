"""The rules for every regularizer: a new one is tested without further work."""

import inspect
import json
import pickle
import sys
from dataclasses import fields, replace
from itertools import combinations
from math import sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from zoneout_core import cells, regularizers
from zoneout_core.config import parts
from zoneout_core.config.section import RegularizerConfig
from zoneout_core.config.setting_texts import fields_without_text, file_summary
from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance import subjects
from zoneout_core.errors import ConfigError
from zoneout_core.masking import drawing, mask_values, stacking, streams
from zoneout_core.masking.drawing import LayerShape, MaskDraw
from zoneout_core.masking.noise import noise_
from zoneout_core.masking.places import Places
from zoneout_core.masking.sites import Sites
from zoneout_core.network.init import InitialDraw
from zoneout_core.regularizers import Mask, Regularizer

PARTS: dict[str, type[Regularizer]] = {
    name: parts.regularizer(name) for name in subjects("zoneout_core.regularizers")
}
EXAMPLES = [
    pytest.param(example, id=f"{n}-{i}")
    for n, part in PARTS.items()
    for i, example in enumerate(part.EXAMPLES)
]
SHAPE = LayerShape(steps=30, batch=16, inputs=24, hidden=40)
SYMBOLS, SEED = 11, 3
DRAW = MaskDraw(program=(), shape=SHAPE, layer=0, seed=SEED, counter=0)
LIMIT = 4.5
"""In standard deviations. The seeds are fixed, so a correct draw always passes."""

KEYS = {part: f"regularizer.{name}" for name, part in PARTS.items()}
"""The section of each regularizer in a configuration."""

every_part = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
every_example = pytest.mark.parametrize("example", EXAMPLES)


def configured(example: dict[str, object], **further: Any) -> TrialConfig:
    """A small configuration with the example and further values."""
    return TrialConfig().with_values(
        {"hidden_size": 6, "batch_size": 5, "sequence_length": 9} | example | further
    )


def masked(example: dict[str, object]) -> dict[str, Mask]:
    """The masks of an example by site, and only the first of several at a site."""
    masks_by_site: dict[str, Mask] = {}
    for mask in configured(example).regularizer.program():
        masks_by_site.setdefault(mask.site, mask)
    return masks_by_site


def alone(
    mask: Mask, layer: int = -1, seed: int = SEED, step: int = 0, evaluation: bool = False
) -> Tensor:
    """A single mask as a tensor, in the first layer that has it."""
    if layer < 0:
        layer = int(mask.layers == "later")
    draw = replace(
        DRAW, program=(mask,), layer=layer, seed=seed, counter=step, evaluation=evaluation
    )
    gains = {"embedding": drawing.embedding_gain, "outputs": drawing.outputs_gain}
    if mask.site in gains:
        tensor = gains[mask.site](draw)
    else:
        tensor = getattr(drawing.layer_sites(draw), mask.site)
    assert isinstance(tensor, Tensor)
    return tensor


# What a part declares


@every_part
def test_it_is_off_by_default(part: type[Regularizer]) -> None:
    """The default of every setting means off: no mask, no noise, no penalty, and no change to other
    masks."""
    off = part()
    assert (off.active, off.program(), off.weight_noise) == (False, (), 0.0)
    assert RegularizerConfig(off).penalties() == []
    key = "regularizer.zoneout.z_cells"
    mask = Mask(
        site="keep_cells",
        key=key,
        strength=0.5,
        probability=0.5,
        expected=0.5,
        stream="masks_cells",
    )
    assert off.transform((mask,)) == (mask,)


@every_part
def test_every_setting_and_the_module_are_documented(part: type[Regularizer]) -> None:
    """The file has a docstring, and every setting a string under it, which `sweep explain`
    shows."""
    assert file_summary(part)
    assert fields_without_text(part) == []


@every_part
def test_probabilities_are_checked(part: type[Regularizer]) -> None:
    """A setting z_* or p_* is a probability from 0 to 1, and sigma_* and beta_* are finite and at
    least 0. Other values are refused with the usual message (`require_probability`, `require`)."""
    for name in (field.name for field in fields(part)):
        for value in (-0.1, 1.1, float("nan")) if name.startswith(("z_", "p_")) else ():
            with pytest.raises(ConfigError) as error:
                part(**{name: value})
            assert str(error.value) == (
                f"{KEYS[part]}.{name} must be a probability from 0 to 1, but is {value}. "
                f"Set it with --set {KEYS[part]}.{name}=VALUE."
            )
        for value in (
            (-1.0, float("nan"), float("inf")) if name.startswith(("sigma_", "beta_")) else ()
        ):
            with pytest.raises(
                ConfigError,
                match=f"{KEYS[part]}.{name} must be a number of at least 0, but is {value}",
            ):
                part(**{name: value})


@every_part
def test_loading_it_loads_no_torch(part: type[Regularizer]) -> None:
    """The file imports no torch at its top, since commands that train nothing load it too."""
    source = inspect.getsource(sys.modules[part.__module__])
    assert "\nimport torch" not in source
    assert "\nfrom torch" not in source


# The masks, noise and penalties of its examples


@every_example
def test_an_example_is_on_and_round_trips(example: dict[str, object]) -> None:
    """Each of EXAMPLES switches the regularizer on, with masks, noise or a penalty; its masks name
    settings that exist, and the configuration survives JSON and pickle."""
    config = configured(example)
    active = config.regularizer.active()
    assert active
    assert (
        config.regularizer.program()
        or config.regularizer.noise_deviation
        or config.regularizer.penalties()
    )
    assert TrialConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert pickle.loads(pickle.dumps(config)) == config
    for mask in config.regularizer.program():
        assert 0 <= mask.probability <= 1
        assert mask.key in {
            f"{KEYS[type(part)]}.{field.name}" for part in active for field in fields(part)
        }
        assert mask.strength == config.value(mask.key)


@every_example
def test_in_the_mean_a_mask_is_what_stands_for_it(example: dict[str, object]) -> None:
    """The mean of a drawn mask, scale included, is `expected`, which replaces it in an evaluation.
    This holds for unscaled and inverted dropout, zoneout and Gaussian masks."""
    for mask in masked(example).values():
        if mask.expected is not None:
            assert mask.probability * mask.scale == pytest.approx(mask.expected, abs=1e-15)


@every_example
def test_drawn_masks_have_their_probability_along_every_axis(example: dict[str, object]) -> None:
    """A drawn mask is 1 with its `probability` along every axis."""
    for mask in masked(example).values():
        drawn = alone(mask).double() / mask.scale
        if mask.kind == "bernoulli":
            assert torch.isclose(drawn, drawn.round()).all()
        for axis in range(drawn.dim()):
            for index in range(drawn.shape[axis]):
                part = drawn.select(axis, index)
                rates = mask_values.rates(mask, drawn.shape[-1], "cpu")
                if axis == drawn.dim() - 1:
                    rates = rates[index]
                assert deviations(part, rates) < LIMIT, (mask.site, axis, index)


def deviations(drawn: Tensor, rates: Tensor) -> float:
    """By how many standard deviations the sum of independent draws is off; rates: P(1) of each
    unit, or of all."""
    if rates.dim() > 0 and drawn.shape[-1] != len(rates):
        rates = rates.mean()
    rates = rates.expand(drawn.shape)
    return abs(float((drawn - rates).sum())) / max(sqrt(float((rates * (1 - rates)).sum())), 1e-12)


@every_example
def test_masks_of_different_sites_layers_lanes_and_updates_are_uncorrelated(
    example: dict[str, object],
) -> None:
    """Masks of different streams, layers, seeds and updates are independent, unless the mask says
    that it is shared."""
    example_masks = masked(example).values()
    for first, second in combinations(example_masks, 2):
        if first.stream != second.stream:
            assert correlation(alone(first), alone(second)) < LIMIT, (first.site, second.site)
    for mask in example_masks:
        others = {"seed": alone(mask, seed=SEED + 1)}
        if mask.layers == "all":
            others["layer"] = alone(mask, layer=1)
        if "update" not in mask.shared:
            others["step"] = alone(mask, step=1)
        for difference, other in others.items():
            assert not torch.equal(alone(mask), other), difference
            assert correlation(alone(mask), other) < LIMIT, difference


@every_example
def test_neighbours_within_a_mask_are_uncorrelated(example: dict[str, object]) -> None:
    """Neighbours in a mask are independent."""
    for mask in masked(example).values():
        drawn = alone(mask)
        for axis, size in enumerate(drawn.shape):
            if size > 1:
                before = drawn.narrow(axis, 0, size - 1)
                after = drawn.narrow(axis, 1, size - 1)
                assert correlation(before, after) < LIMIT, (mask.site, axis)


def correlation(a: Tensor, b: Tensor) -> float:
    """The correlation of two masks without the means of their units, in standard deviations from
    0."""
    if a.shape != b.shape:
        return 0.0

    def centred(mask: Tensor) -> Tensor:
        return (mask.double() - mask.double().flatten(0, -2).mean(0)).flatten()

    rows = torch.stack([centred(a), centred(b)])
    return abs(float(torch.corrcoef(rows)[0, 1])) * sqrt(a.numel())


@every_example
def test_axes_are_shared_or_not_as_the_mask_says(example: dict[str, object]) -> None:
    """A mask has one value along the axes in `shared`, and a value for each index along all
    others."""
    for mask in masked(example).values():
        steps, batch, *gates, units = alone(mask).shape
        width = SHAPE.inputs if mask.site in ("inputs", "embedding") else SHAPE.hidden
        axes = (
            ("time", steps, SHAPE.steps),
            ("batch", batch, SHAPE.batch),
            ("unit", units, width),
        )
        for axis, size, full_size in axes:
            assert size == (1 if axis in mask.shared else full_size), (mask.site, axis)
        assert gates == [SHAPE.gates] * mask.gates


@every_example
def test_masks_follow_from_seed_layer_and_step_alone(example: dict[str, object]) -> None:
    """Masks depend on the seed, the layer and the update alone, and not on their order or torch's
    global generator."""
    program = configured(example).regularizer.program()
    torch.manual_seed(1)
    first = drawing.layer_sites(replace(DRAW, program=program, counter=7))
    torch.manual_seed(2)
    again = drawing.layer_sites(replace(DRAW, program=tuple(reversed(program)), counter=7))
    assert first.present().keys() == again.present().keys()
    assert all(torch.equal(mask, again.present()[site]) for site, mask in first.present().items())


@every_example
def test_an_evaluation_is_deterministic(example: dict[str, object]) -> None:
    """An evaluation replaces a mask by `expected`, and draws no random number."""
    program = configured(example).regularizer.program()
    torch.manual_seed(1)
    draw = replace(DRAW, program=program, dtype=torch.float64, evaluation=True)
    first = drawing.layer_sites(draw)
    torch.manual_seed(2)
    again = drawing.layer_sites(draw)
    assert all(torch.equal(mask, again.present()[site]) for site, mask in first.present().items())
    for mask in masked(example).values():
        if (
            mask.expected is None
            or mask.static
            or mask.spread
            or mask.kind == "uniform"
            or is_neutral(mask)
        ):
            continue
        expectation = first.present()[mask.site]
        assert expectation.shape == (1,) * expectation.dim()
        assert expectation.item() == mask.expected


def is_neutral(mask: Mask) -> bool:
    """Whether the expectation of the mask changes nothing."""
    return mask.expected == stacking.neutral(mask.site)


@every_example
def test_masks_drawn_in_an_evaluation_do_not_depend_on_how_it_is_cut(
    example: dict[str, object],
) -> None:
    """Examples and chunks have the same masks whether they are evaluated one by one or together."""
    program = regularizers.sampled(configured(example).regularizer.program())

    def drawn(places: Places) -> Sites:
        shape = replace(SHAPE, batch=len(places.sequences_B), places=places)
        return drawing.layer_sites(
            replace(
                DRAW,
                program=program,
                shape=shape,
                layer=int(any(m.layers == "later" for m in program)),
                evaluation=True,
            )
        )

    cpu = torch.device("cpu")
    starts_B = torch.arange(0, 3 * (SHAPE.steps + 1), SHAPE.steps + 1)
    examples = [
        Places.of_examples(0, 3, SHAPE.steps, cpu),
        Places.of_examples(2, 1, SHAPE.steps, cpu),
    ]
    chunks = [
        Places.of_chunks(starts_B, SHAPE.steps + 1, cpu),
        Places.of_chunks(starts_B[2:], SHAPE.steps + 1, cpu),
    ]
    for all_three, third in (examples, chunks):
        together = drawn(all_three).present()
        separate = drawn(third).present()
        assert together.keys() == separate.keys()
        for site, mask in together.items():
            assert torch.equal(mask[:, -1:], separate[site]), site


# Its effect on a network


def trained(config: TrialConfig, *, evaluation: bool = False, step: int = 0) -> Tensor:
    """A number that a tiny network computes from random symbols, with the masks and noise of the
    configuration."""
    model = config.model
    program = config.regularizer.program()
    seed = config.seed
    cell = cells.chosen(config)
    draw = InitialDraw(model, 1)
    tokens_TB = torch.randint(
        SYMBOLS,
        (config.sequence_length, config.batch_size),
        generator=streams.generator(0, "shuffle", counter=0),
    )
    mask_draw = replace(
        DRAW,
        program=program,
        seed=seed,
        counter=step,
        evaluation=evaluation,
        dtype=torch.float64,
    )
    x = tokens_TB
    width = SYMBOLS
    if model.embedding_size:
        x = draw.matrix(SYMBOLS, model.embedding_size)[tokens_TB]
        width = model.embedding_size
        shape = LayerShape(steps=1, batch=config.batch_size, inputs=SYMBOLS, hidden=0)
        gain_1BV = drawing.embedding_gain(replace(mask_draw, shape=shape))
        if gain_1BV is not None:
            gain_TBV = gain_1BV.to(x.dtype).expand(
                config.sequence_length, config.batch_size, SYMBOLS
            )
            x = x * gain_TBV.gather(-1, tokens_TB.unsqueeze(-1))
    head = {"out_w_HV": draw.matrix(model.hidden_size, SYMBOLS), "out_b_V": draw.bias(SYMBOLS)}
    for layer in range(model.num_layers):
        kept = {
            name: draw.full(start, *size)
            for name, (start, size) in cell.statistics(model, config.sequence_length).items()
        }
        p = cell.initial(model, width, draw) | kept | head
        if config.regularizer.noise_deviation and not evaluation:
            matrices = [p["w_DG"], p["u_HG"], p["out_w_HV"]]
            noise_(matrices, config.regularizer.noise_deviation, seed=seed, update=step)
        shape = LayerShape(
            steps=config.sequence_length,
            batch=config.batch_size,
            inputs=width if x.is_floating_point() else 1,
            hidden=model.hidden_size,
            gates=cell.GATES,
        )
        sizes = cell.sizes(model).items()
        state = tuple(
            draw.full(0.3 if name in ("h", "c") else 0.0, 1, size) for name, size in sizes
        )
        layer_masks = drawing.layer_sites(replace(mask_draw, shape=shape, layer=layer))
        trajectory = cell.run(p, x, state, layer_masks, training=not evaluation)
        x = trajectory.states[0]
        width = model.hidden_size
    gain = drawing.outputs_gain(replace(mask_draw, shape=shape))
    if gain is not None:
        x = x * gain
    total = x.square().mean()
    if evaluation:
        return total
    names = list(cell.sizes(model))
    for part in config.regularizer.penalties():
        penalised = trajectory.states[names.index(part.penalised)]
        total = total + part.penalty(penalised).mean()
    return total


@every_example
def test_it_changes_training_differently_at_every_update_and_for_every_seed(
    example: dict[str, object],
) -> None:
    """Each example changes what a network computes in training, differently at every update and
    for every seed, unless updates share the mask."""
    config = configured(example)
    off = TrialConfig().with_values(
        {key: config.value(key) for key in config.changed() if "regularizer." not in key}
    )
    assert trained(config) != trained(off)
    assert trained(config) == trained(config)
    program = config.regularizer.program()
    if program and not all("update" in mask.shared for mask in program):
        assert trained(config) != trained(config, step=1)
        assert trained(config) != trained(config.with_values({"seed": 4}))


@every_example
def test_evaluations_draw_nothing_at_random(example: dict[str, object]) -> None:
    """An evaluation gives a finite number, the same each time."""
    config = configured(example)
    torch.manual_seed(1)
    first = trained(config, evaluation=True)
    torch.manual_seed(2)
    assert trained(config, evaluation=True) == first
    assert torch.isfinite(first)
    program = config.regularizer.program()
    if all(mask.expected is not None or "update" in mask.shared for mask in program):
        assert trained(config, evaluation=True, step=1) == first


@every_example
def test_lanes_with_and_without_it_stand_side_by_side(example: dict[str, object]) -> None:
    """Stacked with others, a lane has its own masks, and a lane without masks gets numbers that
    change nothing."""
    sites = drawing.layer_sites(replace(DRAW, program=configured(example).regularizer.program()))
    if sites.uniform is None:
        stacked = stacking.stack([sites, Sites(), sites])
    else:
        stacked = stacking.stack([sites, sites])
    assert stacked.gate_form == sites.gate_form
    assert stacked.present().keys() == sites.present().keys()
    for site, mask in stacked.present().items():
        for lane in (0, -1):
            assert torch.equal(mask[lane], sites.present()[site].expand(mask[lane].shape)), site
        if sites.uniform is None:
            assert (mask[1] == (0 if site.startswith("keep_") else 1)).all(), site


def accepted(values: dict[str, object]) -> TrialConfig | str:
    """The configuration, or the reason that it is refused."""
    try:
        return configured(values)
    except ConfigError as error:
        return str(error)


def test_a_cell_without_the_place_refuses_the_setting_that_asks_for_it() -> None:
    """An example with a cell that has no site for its masks is refused, and the message names the
    cell."""
    for example in (example for part in PARTS.values() for example in part.EXAMPLES):
        for cell in sorted({"lstm", "gru", "rnn"} & set(cells.names())):
            config = accepted(example | {"cell": cell})
            if isinstance(config, str):
                assert f"with model.cell={cell}, which " in config
                continue
            kind = type(config.cell)
            assert {m.site for m in config.regularizer.program()} - {
                "embedding",
                "outputs",
            } <= kind.SITES
