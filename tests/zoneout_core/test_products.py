"""Which product is taken: the fastest on this machine, found out once, then kept by the run and by
the machine."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from zoneout_core import kernels
from zoneout_core.cells.lstm import LSTM
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError, UnknownName
from zoneout_core.kernels import emulation, fastest_product, machine, memory, product, timing
from zoneout_core.kernels.memory import Answer, Memory
from zoneout_core.kernels.timing import Shape
from zoneout_core.network.output_layer import output_product, product_shape

CPU = torch.device("cpu")
SHAPE = Shape(batch=4, hidden=13, gates=52, steps=20)


@pytest.fixture(autouse=True)
def _own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """None that lasts, and nothing is asked for."""
    monkeypatch.delenv("ZONEOUT_PRODUCT", raising=False)
    monkeypatch.setattr(fastest_product, "_memory", Memory())
    monkeypatch.setattr(fastest_product, "_picked", {})


def take(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> list[Shape]:
    """Let the clock say this of each product; returns the shapes that are timed from now on."""
    timed: list[Shape] = []

    def told(products: list[product.MatMul], shape: Shape) -> list[float]:
        timed.append(shape)
        return [seconds[one.name] for one in products]

    monkeypatch.setattr(timing, "seconds", told)
    monkeypatch.setattr(product, "has_onednn", lambda precision="float32": "onednn" in seconds)
    return timed


def picked(
    run: Path | None = None, cache: Path | None = None, precision: str = "float32"
) -> product.MatMul:
    """As by a new process with these folders."""
    fastest_product.remember(Memory(run=run, cache=cache))
    return fastest_product.pick(precision, CPU, SHAPE)


@pytest.mark.parametrize(
    ("seconds", "name"),
    [
        ({"onednn": 1.0, "addmm": 2.0, "mm": 1.5}, "onednn"),
        ({"onednn": 1.0, "addmm": 0.95, "mm": 0.92}, "onednn"),
        ({"onednn": 1.0, "addmm": 0.7, "mm": 0.65}, "addmm"),
        ({"onednn": 1.0, "addmm": 0.7, "mm": 0.6}, "mm"),
        ({"addmm": 1.0, "mm": 0.95}, "addmm"),
        ({"addmm": 1.0, "mm": 0.8}, "mm"),
    ],
)
def test_a_product_has_to_be_clearly_faster_to_take_the_place_of_a_likelier_one(
    seconds: dict[str, float], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, **seconds)
    assert picked().name == name


def test_the_reason_says_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    take(monkeypatch, onednn=1.5, addmm=1.0, mm=1.1)
    told = "float32, timed on this machine: onednn takes 1.50 times as long, mm takes 1.10 times as long"
    assert picked(cache=tmp_path).reason == told
    choice = kernels.choose(LSTM(), "float32", "cpu", shape=SHAPE)
    assert choice.reason == f"explicit backward on cpu; product addmm: {told}"
    assert (
        picked().reason
        == f"{told} (not remembered for other runs: the cache folder cannot be written)"
    )


def test_products_are_really_timed() -> None:
    found = picked()
    names = product.possible("float32")
    assert found.name in names
    for other in names:
        assert (f" {other} takes " in found.reason) == (other != found.name)
    seconds = timing.seconds([product.named(name, "float32") for name in names], SHAPE)
    assert all(0 < one < 1 for one in seconds)


def test_without_a_shape_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = take(monkeypatch, onednn=1.0, addmm=0.1, mm=0.1)
    assert fastest_product.pick("float32", CPU).name == "onednn"
    assert fastest_product.pick("float64", CPU, SHAPE).name == "mm"
    assert fastest_product.pick("float32", torch.device("cuda"), SHAPE).name == "mm"
    assert timed == []


def test_a_machine_remembers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    timed = take(monkeypatch, onednn=1.0, addmm=0.5, mm=0.5)
    first = picked(cache=tmp_path)
    take(monkeypatch, onednn=1.0, addmm=2.0, mm=2.0)
    assert picked(cache=tmp_path) == first
    assert timed == [SHAPE]


def test_other_threads_torch_shapes_and_processors_are_other_questions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    timed = take(monkeypatch, onednn=1.0, addmm=0.5, mm=0.5)
    picked(cache=tmp_path)
    torch.set_num_threads(2)
    picked(cache=tmp_path)
    torch.set_num_threads(1)
    monkeypatch.setattr(machine, "processor", lambda: "another")
    picked(cache=tmp_path)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    picked(cache=tmp_path)
    monkeypatch.setattr(torch, "__version__", "9.9")
    picked(cache=tmp_path)
    assert timed == [SHAPE] * 5
    assert len(list(tmp_path.glob("*.json"))) == 5


def test_a_run_keeps_its_product_when_the_machine_has_changed_its_mind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    take(monkeypatch, onednn=1.0, addmm=0.5, mm=0.5)
    assert picked(run, cache).name == "addmm"
    for file in cache.iterdir():
        file.unlink()
    take(monkeypatch, onednn=0.5, addmm=1.0, mm=1.0)
    assert picked(tmp_path / "another", cache).name == "onednn"
    assert picked(run, cache).name == "addmm"


def test_a_run_begins_with_what_the_machine_remembers_and_keeps_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    take(monkeypatch, onednn=1.0, addmm=0.5, mm=0.5)
    picked(cache=tmp_path / "cache")
    timed = take(monkeypatch, onednn=0.5, addmm=1.0, mm=1.0)
    assert picked(tmp_path / "run", tmp_path / "cache").name == "addmm"
    assert picked(tmp_path / "run").name == "addmm"
    assert timed == []


@pytest.mark.parametrize("damage", ["", "{", '{"product": "addmm"}', "flip", "null", '"text"'])
def test_what_is_damaged_is_timed_again(
    damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    take(monkeypatch, onednn=1.0, addmm=0.5, mm=0.5)
    picked(cache=tmp_path)
    (file,) = tmp_path.glob("*.json")
    whole = file.read_bytes()
    file.write_bytes(
        whole.replace(b"0.5", b"0.4").replace(b"addmm", b"mm", 1)
        if damage == "flip"
        else damage.encode()
    )
    timed = take(monkeypatch, onednn=0.5, addmm=1.0, mm=1.0)
    assert picked(cache=tmp_path).name == "onednn"
    assert timed == [SHAPE]
    assert picked(cache=tmp_path).name == "onednn"
    assert timed == [SHAPE]


def test_a_remembered_product_that_this_torch_has_not_is_timed_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    take(monkeypatch, onednn=0.5, addmm=1.0, mm=1.0)
    assert picked(cache=tmp_path).name == "onednn"
    take(monkeypatch, addmm=1.0, mm=1.0)
    assert picked(cache=tmp_path).name == "addmm"


def test_where_nothing_can_be_written_the_process_remembers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    timed = take(monkeypatch, onednn=1.0, addmm=0.5, mm=0.5)
    assert picked(blocked / "run", blocked / "cache").name == "addmm"
    assert "not remembered for other runs" in fastest_product.pick("float32", CPU, SHAPE).reason
    assert timed == [SHAPE]


def test_without_hard_links_the_first_answer_stands_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    one, two = Memory(run=tmp_path), Memory(run=tmp_path)
    assert one.keep("question", Answer("mm", "first")).reason == "first"
    assert two.keep("question", Answer("addmm", "second")).reason == "first"


def test_who_answers_at_once_agrees(tmp_path: Path) -> None:
    """Some have the same cache, some another one, all the same run: the lane servers of several
    nodes."""
    barrier = threading.Barrier(6)

    def race(number: int) -> list[str]:
        own = Memory(run=tmp_path / "run", cache=tmp_path / f"cache{number % 2}")
        answer = Answer(product.NAMES[number % 3], f"found by {number}")
        found = []
        for question in range(50):
            barrier.wait()
            found.append(own.keep(f"question {question}", answer).reason)
        return found

    with ThreadPoolExecutor(6) as racers:
        first, *others = racers.map(race, range(6))
    assert all(other == first for other in others)
    assert len(list((tmp_path / "run").glob("*.json"))) == 50


def test_a_product_can_be_asked_for_and_stays_with_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    timed = take(monkeypatch, onednn=1.0, addmm=0.5, mm=0.5)
    monkeypatch.setenv("ZONEOUT_PRODUCT", "mm")
    found = picked(tmp_path / "run", tmp_path / "cache")
    assert (found.name, found.reason) == ("mm", "float32, because ZONEOUT_PRODUCT asked for it")
    monkeypatch.delenv("ZONEOUT_PRODUCT")
    assert picked(tmp_path / "run", tmp_path / "cache") == found
    assert timed == []
    assert picked(tmp_path / "another", tmp_path / "cache").name == "addmm"


def test_a_product_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZONEOUT_PRODUCT", "mkl")
    with pytest.raises(UnknownName) as unknown:
        fastest_product.pick("float32", CPU)
    assert str(unknown.value) == "There is no product named 'mkl'. What exists: addmm, mm, onednn."
    monkeypatch.setenv("ZONEOUT_PRODUCT", "addmm")
    monkeypatch.setattr(product, "has_onednn", lambda precision: False)
    with pytest.raises(ConfigError) as cannot:
        fastest_product.pick("bfloat16", CPU)
    assert str(cannot.value) == (
        "The product must be one that this machine has for bfloat16, but is 'addmm'. Take one of: mm."
    )


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert memory.cache_folder() == tmp_path / "zoneout-sweeps" / "products"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert memory.cache_folder() == tmp_path / ".cache" / "zoneout-sweeps" / "products"


def test_lanes_of_one_shape_key_take_the_same_product() -> None:
    """Whatever they are regularized by, and however many they are."""
    config = TrialConfig()
    assert product_shape(config) == Shape(batch=32, hidden=1000, gates=4000, steps=100)
    for values in ({"z_cells": 0.5}, {"p_recurrent": 0.5}, {"learning_rate": 1.0, "seed": 3}):
        other = config.with_values(values)
        assert other.shape_key() == config.shape_key()
        assert product_shape(other) == product_shape(config)
    small = config.with_values({"hidden_size": 13, "batch_size": 4, "sequence_length": 20})
    assert (
        output_product(small, CPU).name
        == fastest_product.pick("float32", CPU, product_shape(small)).name
    )


# Precisions that a processor has to emulate


def test_a_precision_that_is_emulated_is_refused_with_what_it_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "has_bfloat16", lambda: False)
    monkeypatch.setattr(machine, "processor", lambda: "Processor 7")
    monkeypatch.setattr(emulation, "slowdown", lambda precision: 2.64)
    with pytest.raises(ConfigError) as caught:
        kernels.check_precision("bfloat16", "cpu")
    assert str(caught.value) == (
        "precision must be one that this processor has (Processor 7), but it has no instructions for bfloat16: "
        "emulated, products take 2.6 times as long as in float32, which is more precise. Use --set "
        "precision=float32, or --force to train all the same."
    )
    kernels.check_precision("bfloat16", "cpu", force=True)
    kernels.check_precision("bfloat16", "cuda")
    kernels.check_precision("float32", "cpu")
    assert fastest_product.pick("bfloat16", CPU).reason.endswith(
        "; emulated, which is slower than float32"
    )
    monkeypatch.setattr(machine, "has_bfloat16", lambda: True)
    kernels.check_precision("bfloat16", "cpu")
    assert "emulated" not in fastest_product.pick("bfloat16", CPU).reason


def test_what_emulation_costs_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulation, "EXAMPLE", SHAPE)
    assert emulation.slowdown("bfloat16") > 0
