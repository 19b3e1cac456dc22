"""The home folder of all runs, and the folder of one run: its files, the lock of its one driver,
and the request to stop."""

import fcntl
import json
import os
import shlex
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from sweeps import files, pasting, secrets
from sweeps.books import checksums, kept_plugins
from sweeps.books.story import Story
from sweeps.definition import Sweep
from zoneout_core.config import registry
from zoneout_core.config.plugins import DECISIVE, Plugins
from zoneout_core.errors import ConfigError, HomeError, RunError, UnknownName
from zoneout_core.records import ARITHMETIC

DEFAULT_HOME = Path("runs")
"""In the current folder, unless `--home` or $ZONEOUT_HOME says otherwise."""


class KeptPlugins(Struct, frozen=True, omit_defaults=True):
    """The plug-ins of a run, as its definition records them."""

    sha256: str = ""
    """Hash of the folder; empty where all plug-ins were installed."""
    names: dict[str, str] = {}
    """Source hash of every plug-in, by `cells/mine`."""


class RunFolder:
    """One run's folder: where each of its files is, and who drives it (docs/architecture.md, "A run
    on disk")."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.journal = folder / "journal.jsonl"
        self.study = folder / "study.journal"
        self.checkpoints = folder / "checkpoints"
        self.products = folder / "products"
        self.plugins = folder / "plugins"
        self.report = folder / "report"
        self.provenance = folder / "provenance.json"
        self.tracking = folder / "tracking.json"
        self.log = folder / "driver.log"
        self._definition = folder / "sweep.json"
        self._lock = folder / "lock"
        self._stop = folder / "stop"

    def command(self, verb: str) -> str:
        """`sweep VERB` for this run, ready to be pasted into a shell in any folder."""
        return pasting.on_run(self.folder, verb)

    def checkpoint(self, trial: int) -> Path:
        """The folder of a trial's checkpoints."""
        return self.checkpoints / f"{trial:05d}"

    def definition(self) -> Sweep:
        """The definition that the run was begun with. Raises `RunError` when it cannot be used."""
        return self._begun()[0]

    def arithmetic(self) -> int:
        """The edition of the arithmetic (`records.ARITHMETIC`) that trained it. Raises `RunError`
        as `definition`."""
        return self._begun()[1]

    def begin_again(self, sweep: str) -> str:
        """The command that begins a new run of this sweep with the plug-ins of this run."""
        command = pasting.in_home(self.folder.parent, "run", sweep)
        if self._kept_plugins().sha256:
            return f"{command} --plugins {shlex.quote(str(self.plugins.absolute()))}"
        return command

    def plugin_hashes(self) -> dict[str, str]:
        """The source hash, at the run's beginning, of every plug-in that decides numbers, by
        `cells/mine`; installed plug-ins included."""
        hashes = self._kept_plugins().names
        return {
            name: sha256 for name, sha256 in hashes.items() if name.partition("/")[0] in DECISIVE
        }

    def own_plugins(self) -> Plugins:
        """The folder of plug-ins that the run was begun with.

        Raises `RunError` when the run's copy was changed, or is code that this user never used.
        """
        sha256 = self._kept_plugins().sha256
        if sha256:
            return kept_plugins.read(self.plugins, sha256)
        return Plugins()

    def use_plugins(self) -> None:
        """Use the run's own plug-ins from now on, in the whole process. Raises as `own_plugins`."""
        registry.use(self.own_plugins())

    def _kept_plugins(self) -> KeptPlugins:
        try:
            return msgspec.convert(checksums.read(self._definition).get("plugins", {}), KeptPlugins)
        except (OSError, ValueError):  # `definition` says what is wrong with it
            return KeptPlugins()

    def _begun(self) -> tuple[Sweep, int]:
        try:
            content = checksums.read(self._definition)
            content.pop("plugins", None)
            arithmetic = msgspec.convert(content.pop("arithmetic"), int)
            with registry.using(self.own_plugins()):
                return Sweep.from_json(content), arithmetic
        except RunError:
            raise
        except KeyError as error:
            raise RunError(
                f"{self._definition} has no {error}. Begin a new run with: sweep run NAME"
            ) from error
        except checksums.OtherFormat as error:
            raise RunError(
                f"{error} Read the run with the version that wrote it, or begin a new one; see what"
                " can be run with: sweep ls"
            ) from error
        except (OSError, ValueError) as error:
            raise RunError(
                f"Run {self.name} needs its definition in {self._definition}, but it cannot be"
                f" used: {error} Restore the file, or begin a new run; see what can be run with:"
                " sweep ls"
            ) from error

    def write(self, file: Path, data: Mapping[str, object]) -> None:
        """Write JSON with its checksum to a file of the run, completely or not at all.
        `checksums.read` reads it.

        Raises `HomeError` when the disk refuses.
        """
        temporary = file.with_suffix(".part")
        try:
            with temporary.open("w") as out:
                json.dump(checksums.sealed(file, data), out, indent=2, allow_nan=False)
                out.write("\n")
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(file)
        except OSError as error:
            raise self.unusable(error) from error

    def unusable(self, error: OSError) -> HomeError:
        """The error to raise when the disk refuses the run's files."""
        return _unusable(self.folder, error)

    def keep(self, purpose: str, address: str) -> None:
        """Keep the password of an address in `secrets.json`. Raises `HomeError` when the disk
        refuses.

        purpose: a key of `secrets.VARIABLES`.
        """
        try:
            secrets.keep(self.folder, purpose, address)
        except OSError as error:
            raise _unusable(self.folder, error) from error

    def write_definition(
        self,
        sweep: Sweep,
        arithmetic: int = ARITHMETIC,
        plugins: KeptPlugins | None = None,
    ) -> None:
        """Write `sweep.json`; from now on the run exists. A password in it goes into
        `secrets.json`.

        plugins: the result of `keep_plugins`; None = those in the file.
        """
        self.keep("storage", sweep.storage)
        if plugins is None:
            plugins = self._kept_plugins()
        data: dict[str, object] = {"arithmetic": arithmetic, **sweep.to_json()}
        if plugins.names:
            data["plugins"] = msgspec.to_builtins(plugins)
        self.write(self._definition, data)

    def keep_plugins(self) -> KeptPlugins:
        """Keep the plug-ins in use, for `own_plugins`. Returns what the definition records of them.
        Raises `HomeError` when the disk refuses."""
        hashes = registry.digests()
        plugins = registry.active()
        if not plugins:  # all of them are installed
            return KeptPlugins(names=hashes)
        try:
            kept_plugins.write(self.plugins, plugins)
        except OSError as error:
            raise self.unusable(error) from error
        return KeptPlugins(sha256=plugins.sha256, names=hashes)

    @contextmanager
    def driving(self, data: Path | None = None) -> Iterator[None]:
        """Hold the run's lock: one driver at a time. Raises `RunError`, naming the other driver.

        `data` is the folder of the data files, if the run needs any. The command that resumes it
        names that folder again.
        """
        self.refuse_links()
        with self._lock.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"A run has one driver at a time, and {self.name} is driven by"
                    f" {self._holder()}. Watch it with: {self.command('status')}   or end it with:"
                    f" {self.command('stop')}"
                ) from None
            holder = {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            }
            lock.truncate(0)
            lock.write(json.dumps(holder | ({"data": str(data.absolute())} if data else {})))
            lock.flush()
            self._stop.unlink(missing_ok=True)
            try:
                yield
            finally:
                self._stop.unlink(missing_ok=True)

    def refuse_links(self) -> None:
        """Raises `RunError` when anything in the folder is a link, whose maker would choose what is
        read and written."""
        # Tune's folder is removed after a sweep, and Optuna's lock is a link.
        files.refuse_links(self.folder, unsearched=("tune",), links=(f"{self.study.name}.lock",))

    def is_driven(self) -> bool:
        """Whether a driver holds the lock now."""
        try:
            with self._lock.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def request_stop(self) -> None:
        """Ask the driver to stop as it does after Ctrl-C. Raises `RunError` when there is none."""
        if not self.is_driven():
            raise RunError(
                f"Only a driven run can be stopped, and nobody drives {self.name}. "
                f"Go on with it: {self.command('resume')}"
            )
        self._stop.touch()

    def stop_requested(self) -> bool:
        """Whether `request_stop` was called on this driver."""
        return self._stop.exists()

    def story(self) -> Story:
        """The story of its journal. Without a driver nothing counts as running, even if the last
        driver died without an event.

        Raises `RunError` when the journal is damaged, or missing although the run was driven.
        """
        story = Story.of(self.journal)
        was_driven = self.study.exists() or self.checkpoints.exists()
        if story.latest is None and was_driven and not self.is_driven():
            raise RunError(
                f"A run that was driven has a journal, but {self.journal} is gone or empty. "
                f"Have it written again from checkpoints and study with: {self.command('resume')}"
            )
        if story.state == "running" and not self.is_driven():
            story.interrupt("its driver died")
        return story

    def _holder(self) -> str:
        try:
            holder = json.loads(self._lock.read_text())
            return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
        except (ValueError, KeyError, TypeError):
            return "a process that is just starting"


class Home:
    """The folder with all runs: $ZONEOUT_HOME, `--home`, or `runs/` in the current folder."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).expanduser().absolute()

    def command(self, *words: str) -> str:
        """`sweep WORDS` for the runs of this home, ready to be pasted into a shell in any
        folder."""
        return pasting.in_home(self.folder, *words)

    def runs(self) -> list[RunFolder]:
        """All runs, oldest first."""
        begun = sorted(
            self.folder.glob("*/sweep.json"),
            key=lambda file: (file.stat().st_mtime_ns, file.parent.name),
        )
        return [RunFolder(file.parent) for file in begun]

    def run(self, name: str) -> RunFolder:
        """The run `name`, or the newest one for `latest`. Raises `UnknownName` or `RunError`."""
        runs = self.runs()
        if name == "latest" and not runs:
            raise RunError(
                f"There is no run in {self.folder} yet. Begin one with:"
                f" {self.command('run', 'demo')}"
            )
        if name == "latest":
            runs[-1].refuse_links()
            return runs[-1]
        by_name = {run.name: run for run in runs}
        if (
            name not in by_name
            and name == Path(name).name
            and (self.folder / name / "journal.jsonl").exists()
        ):
            return RunFolder(self.folder / name)  # reading its lost definition will raise
        if name not in by_name:
            raise UnknownName(
                f"run in {self.folder}", name, [*by_name, "latest"] if by_name else []
            )
        by_name[name].refuse_links()
        return by_name[name]

    def create(self, sweep: Sweep) -> RunFolder:
        """Create a new run of `sweep`, named after it and the time. Raises `HomeError` when the
        home cannot be written."""
        stem = f"{sweep.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        for suffix in ("", *(f"-{n}" for n in range(2, 100))):
            run = RunFolder(self.folder / (stem + suffix))
            try:
                run.folder.mkdir(parents=True)
            except FileExistsError:
                if self.folder.is_dir():
                    continue
                raise _unusable(
                    self.folder, NotADirectoryError(20, "a file is in its way")
                ) from None
            except OSError as error:
                raise _unusable(self.folder, error) from error
            run.write_definition(sweep, plugins=run.keep_plugins())
            return run
        raise HomeError(
            f"{self.folder} holds a hundred runs that began in this second. Wait a second and try"
            " again."
        )


def open_run(
    home: Home, name: str, changes: dict[str, object] | None = None
) -> tuple[RunFolder, Sweep]:
    """A run and its definition with `changes` applied, for resuming.

    Raises `UnknownName` for an unknown run, and `ConfigError` when a change would alter the numbers
    of its trials.
    """
    run = home.run(name)
    run.use_plugins()
    begun = run.definition()
    sweep = begun.with_values(changes or {})
    different = begun.differences(sweep)
    if different:
        raise ConfigError(
            f"A resumed run keeps its definition, but this would change {'; '.join(different)}. "
            f"Begin a new run with: {run.begin_again(begun.name)}"
        )
    return run, sweep


def _unusable(folder: Path, error: OSError) -> HomeError:
    return HomeError(
        f"Runs are kept in {folder}, which must be writable, but: {error.strerror or error}. "
        "Make room or choose another folder with --home DIR (or $ZONEOUT_HOME)."
    )
