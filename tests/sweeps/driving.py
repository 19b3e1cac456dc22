"""Drivers as processes of their own: begun with the real command line, watched through the journal,
and killed."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import psutil

from sweeps.books.run_folder import Home, RunFolder
from sweeps.books.story import Story
from tests.sweeps.driven import SWEEP, TINY

PATIENCE = 240.0


class Driver:
    """`sweep ARGUMENTS --home HOME` in a process group of its own, as a terminal starts it."""

    alive: ClassVar[list["Driver"]] = []

    def __init__(
        self,
        home: Path,
        *arguments: str,
        before: Sequence[str] = (),
        piped: bool = False,
        **environment: str,
    ) -> None:
        """before: a command that becomes this one, such as nsenter. piped: what it prints goes to a
        pipe, of which the test has the other end."""
        self.home = home
        self.output = home.parent / f"output-{time.monotonic_ns()}"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [*before, str(SWEEP), *arguments, "--home", str(home)],
                stdout=subprocess.PIPE if piped else output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"COLUMNS": "300"} | environment,
                start_new_session=True,
            )
        self.alive.append(self)

    @property
    def run(self) -> RunFolder:
        """The newest run of the home."""
        return Home(self.home).run("latest")

    def until(self, done: Callable[[Story], bool]) -> None:
        """Wait until the run's story is so, while the driver drives."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"ended early:\n{self.output.read_text()}"
            if (
                self.home.is_dir()
                and (runs := Home(self.home).runs())
                and done(Story.of(runs[-1].journal))
            ):
                return
            time.sleep(0.02)
        raise AssertionError(f"waited too long:\n{self.output.read_text()}")

    def until_records(self, count: int) -> None:
        """Wait for so many epochs of all trials together, those of earlier drivers included."""
        self.until(lambda story: sum(trial.epoch for trial in story.trials.values()) >= count)

    def wait(self, code: int = 0) -> str:
        """Wait for the end; what it printed."""
        try:
            ended = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        output = self.output.read_text()
        assert ended == code, output
        assert "Traceback" not in output
        return output

    def workers(self, title: str, count: int) -> list[psutil.Process]:
        """Ray's workers of which the title says that they do this; waits until there are so
        many."""
        found: list[psutil.Process] = []

        def there(_: Story) -> bool:
            found[:] = [
                process for process in self.processes() if _title(process).startswith(title)
            ]
            return len(found) >= count

        self.until(there)
        return found

    def processes(self) -> list[psutil.Process]:
        """The driver and all its descendants."""
        driver = psutil.Process(self.process.pid)
        return [driver, *driver.children(recursive=True)]

    def kill(self) -> None:
        """kill -9 of everything, as a machine that loses its power."""
        victims: list[psutil.Process] = []
        while born := [process for process in self.processes() if process not in victims]:
            for victim in born:
                with suppress(psutil.NoSuchProcess):
                    victim.suspend()  # so that nobody sees another one die, or begets more
            victims += born
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims[1:], timeout=10)
        self.process.wait()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Nothing of it moves meanwhile."""
        processes = self.processes()
        for process in processes:
            process.suspend()
        yield
        for process in processes:
            process.resume()

    def interrupt(self, group: bool = False) -> None:
        """Ctrl-C: a terminal sends it to the whole group, `kill` to the process."""
        if group:
            os.killpg(self.process.pid, signal.SIGINT)
        else:
            self.process.send_signal(signal.SIGINT)


def leave_nobody() -> None:
    """Kill what a failed test has left."""
    while Driver.alive:
        driver = Driver.alive.pop()
        if driver.process.poll() is None:
            driver.kill()


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def sweep_run(home: Path, *arguments: str, piped: bool = False, **settings: object) -> Driver:
    """`sweep run demo` with the tiny sweep's settings and these."""
    values = TINY | {key: str(value) for key, value in settings.items()}
    return Driver(
        home,
        "run",
        "demo",
        *(part for key, value in values.items() for part in ("--set", f"{key}={value}")),
        *arguments,
        piped=piped,
    )


def sweep_resume(home: Path, *arguments: str, **environment: str) -> Driver:
    """`sweep resume latest`."""
    return Driver(home, "resume", "latest", *arguments, **environment)
