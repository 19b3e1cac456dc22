"""Faults that the types must find: each is put into real code, and mypy must report it there."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
NETWORK = "zoneout_core/training/workloads/_network.py"
LANGUAGE = "zoneout_core/training/workloads/language.py"
KERNELS = "zoneout_core/kernels/torch_lanes.py"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A change of one place that must be a type error."""

    file: str
    right: str
    """As the code has it, once."""
    wrong: str
    error: str
    """Part of mypy's message, which must name a line of `wrong`."""


FAULTS = {
    "two mask arguments swapped": Fault(
        file=NETWORK,
        right="""
                    seed=lane.config.seed,
                    counter=lane.updates if evaluation is None else evaluation,
                    evaluation=evaluation is not None,
                    device=self.device,
""",
        wrong="""
                    seed=self.device,
                    counter=lane.updates if evaluation is None else evaluation,
                    evaluation=evaluation is not None,
                    device=lane.config.seed,
""",
        error='Argument "seed" to "MaskDraw" has incompatible type',
    ),
    "a mask's sizes without names": Fault(
        file=NETWORK,
        right="""
            shape = LayerShape(
                steps=steps,
                batch=batch,
""",
        wrong="""
            shape = LayerShape(
                batch,
                steps,
""",
        error='Too many positional arguments for "LayerShape"',
    ),
    "a mask argument misspelled": Fault(
        file=LANGUAGE,
        right="sites = self.sites(self.network, part.lanes, steps=steps, batch=batch)",
        wrong="sites = self.sites(self.network, part.lanes, steps=steps, bacth=batch)",
        error='Unexpected keyword argument "bacth"',
    ),
    "two kernel arguments swapped": Fault(
        file=KERNELS,
        right="""
        sites=sites,
        product=product,
""",
        wrong="""
        sites=product,
        product=sites,
""",
        error='Argument "sites" to "PassInputs" has incompatible type',
    ),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What one run of mypy says when all faults are there at once."""
    folder = tmp_path_factory.mktemp("faulty")
    texts: dict[str, str] = {}
    for fault in FAULTS.values():
        text = texts.get(fault.file) or (REPOSITORY / fault.file).read_text()
        assert text.count(fault.right) == 1, f"{fault.file} has changed: write the fault anew"
        texts[fault.file] = text.replace(fault.right, fault.wrong)
    arguments = []
    for number, (file, text) in enumerate(texts.items()):
        shadow = folder / f"{number}.py"
        # Of another size: mypy takes a shadow of the same size for the file in its cache.
        shadow.write_text(f"{text}# with faults\n")
        arguments += ["--shadow-file", file, str(shadow)]
    command = [sys.executable, "-m", "mypy", "--no-error-summary", *arguments, *texts]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert not found.stderr, found.stderr
    return found.stdout.splitlines()


@pytest.mark.parametrize("name", FAULTS)
def test_mypy_reports(report: list[str], name: str) -> None:
    fault = FAULTS[name]
    text = (REPOSITORY / fault.file).read_text()
    first = text[: text.index(fault.right)].count("\n") + 1
    lines = range(first, first + fault.wrong.count("\n") + 1)
    places = [f"{fault.file}:{line}: error: " for line in lines]
    reports = [line for line in report if line.startswith(tuple(places)) and fault.error in line]
    assert reports, "\n".join(report)
