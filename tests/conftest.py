"""What every test shares: where things are, an environment that reaches nothing of the user's, and
which tests can run.

A test that needs a system program or the data is marked `needs_...`. Where the thing is missing,
those tests are deselected and the summary says so, loudly; with CI=true, a missing thing fails the
run before it starts.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.plugged_in import PlugIn

ROOT = Path(__file__).resolve().parent.parent


def _data_dir() -> Path:
    """$ZONEOUT_DATA, or shared/data beside the checkout, or data/ in it."""
    if named := os.environ.get("ZONEOUT_DATA"):
        return Path(named).resolve()
    shared = (ROOT / ".." / "shared" / "data").resolve()
    if shared.is_dir():
        return shared
    return ROOT / "data"


DATA = _data_dir()
ORACLES = ROOT / "tests" / "data" / "oracles.json"

THREADS = os.environ.get("ZONEOUT_TEST_THREADS", "1")
"""Of every numerical library: bits depend on it, and tests share two cores."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": THREADS,
    "MKL_NUM_THREADS": THREADS,
    "OPENBLAS_NUM_THREADS": THREADS,
    "MPLBACKEND": "agg",
    # Explicitly, because Ray otherwise decides by whether ~/.ray/auth_token happens to exist.
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the future behaviour, which Ray warns about otherwise
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven more processes that nothing here uses
    "GIT_PYTHON_REFRESH": "quiet",
    "NO_COLOR": "1",
}
FORGOTTEN = (
    "ZONEOUT_HOME",
    "ZONEOUT_PLUGINS",
    "XDG_STATE_HOME",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "RAY_ADDRESS",
    "RAY_AUTH_TOKEN",
)

SPAWNING = {"docker", "sweeps"}
"""Folders whose tests start processes, each of which may import torch, Ray and MLflow."""
SPAWNING_LIMIT = 600
"""Seconds for such a test, where it does not name a limit: on a busy machine an import may take
ten."""


@dataclass(frozen=True)
class Need:
    """A thing outside the repository: what is missing of it, and how one gets it."""

    marker: str
    missing: str
    remedy: str


def _need_programs(marker: str, programs: tuple[str, ...], apt: str) -> Need:
    """Debian keeps servers in /usr/sbin and Postgres in a folder of its own, neither of them in
    everyone's PATH."""
    postgres = [str(p) for p in Path("/usr/lib/postgresql").glob("*/bin")]
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *postgres])
    missing = [p for p in programs if not shutil.which(p, path=path)]
    return Need(marker, ", ".join(missing), f"apt-get install --no-install-recommends {apt}")


def _need_root(need: Need) -> Need:
    """`need`, or the right to make namespaces."""
    if need.missing or os.geteuid() == 0:
        return need
    return Need(
        need.marker, "root, for namespaces of their own", "become root, or run them in a container"
    )


def _need_path(marker: str, path: Path, remedy: str) -> Need:
    return Need(marker, "" if path.exists() else str(path), remedy)


def needs() -> list[Need]:
    """Every marked need, looked up now."""
    return [
        _need_programs("needs_chromium", ("chromium", "chromedriver"), "chromium chromium-driver"),
        _need_root(
            _need_programs(
                "needs_sshd",
                ("sshd", "ssh", "ssh-keygen", "rsync", "ip", "unshare", "nsenter"),
                "openssh-server openssh-client rsync iproute2 util-linux",
            )
        ),
        _need_root(
            _need_programs(
                "needs_namespaces",
                ("ip", "ss", "unshare", "nsenter", "setpriv"),
                "iproute2 util-linux",
            ),
        ),
        _need_root(_need_programs("needs_mount", ("mount", "umount"), "mount")),
        _need_programs("needs_compiler", ("g++",), "g++"),
        _need_programs("needs_postgres", ("initdb", "pg_ctl", "psql"), "postgresql"),
        _need_path(
            "needs_ptb",
            DATA / "ptb" / "ptb.train.txt",
            f".venv/bin/sweep data fetch char_ptb --data {DATA}",
        ),
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--perturb SEED`: stands for another processor, whose sums are rounded otherwise."""
    parser.addoption(
        "--perturb", type=int, metavar="SEED", help="move every initial parameter by some roundings"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what cannot run here; under CI=true refuse to start instead."""
    for item in items:
        asked = getattr(item, "fixturenames", ())
        if "data_dir" in asked:
            item.add_marker("needs_ptb")
        if SPAWNING & set(item.path.parts) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SPAWNING_LIMIT))
    lines = []
    for need in needs():
        if not need.missing:
            continue
        out = [item for item in items if item.get_closest_marker(need.marker)]
        if not out:
            continue
        items[:] = [item for item in items if item not in out]
        config.hook.pytest_deselected(items=out)
        lines.append(
            f"{need.marker}: {len(out)} tests need {need.missing}. To run them: {need.remedy}"
        )
    if lines and os.environ.get("CI") == "true":
        raise pytest.UsageError("with CI=true nothing may be missing.\n" + "\n".join(lines))
    config.stash[_NOT_RUN] = lines


_NOT_RUN = pytest.StashKey[list[str]]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """One loud line for each thing that is missing."""
    lines = config.stash.get(_NOT_RUN, [])
    if lines:
        terminalreporter.section(
            "NOT RUN: something is missing on this machine", sep="!", red=True, bold=True
        )
        for line in lines:
            terminalreporter.line(line)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist=loadfile`, as `make test` has it."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.workers import LoadFileOnceScheduling

    return LoadFileOnceScheduling(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported: libraries read some of these once, on import."""
    os.environ.update(ENVIRONMENT)
    # Children inherit a signal that is ignored, as under nohup or in a shell's background; tests
    # send these.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in FORGOTTEN:
        os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's home: Ray keeps a token there, MLflow and matplotlib keep
    caches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def _threads() -> None:
    """Torch's thread count is part of a number's identity; a test that imports no torch does not
    pay for it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != int(THREADS):
        torch.set_num_threads(int(THREADS))


ROUNDINGS = 16
"""How many units in the last place `--perturb` moves a parameter by, at most."""


@pytest.fixture(autouse=True)
def _perturbed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--perturb`, training starts a few roundings beside where it does: no test may mind."""
    seed = request.config.getoption("--perturb")
    if seed is None:
        return
    import torch

    from zoneout_core.training.pack import Pack

    admit = Pack.admit

    def admit_beside(pack: Pack, trial: int, config: Any, state: Any = None) -> None:
        admit(pack, trial, config, state)
        if state is None:
            row_P = pack._weights_KP[pack.trials.index(trial), : pack.layout.trained_size]
            noise_P = (
                torch.rand(
                    row_P.shape, generator=torch.Generator().manual_seed(seed), dtype=row_P.dtype
                )
                - 0.5
            )
            row_P.mul_(1 + 2 * ROUNDINGS * torch.finfo(row_P.dtype).eps * noise_P)

    monkeypatch.setattr(Pack, "admit", admit_beside)


@pytest.fixture
def plug_in(tmp_path: Path) -> "Iterator[PlugIn]":
    """Adds a file to the cells or the regularizers for the length of a test."""
    from tests.plugged_in import plugging_in

    yield from plugging_in(tmp_path)


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that holds ptb/."""
    return DATA


@pytest.fixture(scope="session")
def oracles() -> dict[str, Any]:
    """Float64 test oracles (spec section 13)."""
    loaded: dict[str, Any] = json.loads(ORACLES.read_text())
    return loaded
