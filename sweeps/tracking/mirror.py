"""A sweep run in MLflow: a parent run, and a child run for each trial. Idempotent, and blocking.

MLflow's runs are found by the tag `zoneout.key` (RUN or RUN/00012), and not remembered between
processes: the oldest run with a key counts, others are deleted. Metrics carry the journal's times,
and MLflow stores the same (key, step, time, value) only once, so anything may be sent again. After
an error all of a run is.

| trial | MLflow status | | run | MLflow status |
|---|---|---|---|---|
| running | RUNNING | | running | RUNNING |
| complete | FINISHED | | finished, budget | FINISHED |
| pruned, interrupted | KILLED | | interrupted | KILLED |
| failed | FAILED | | failed | FAILED |

The tag `zoneout.state` has the exact state. A resumed run or trial goes back to RUNNING.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from analysis.mlflow_filter import tag_is
from sweeps import secrets
from sweeps.books import trial_rows
from sweeps.books.story import Story, TrialStory
from sweeps.files import read_inside
from sweeps.tracking.fields import MetricPoint, metric_tags, run_params, trial_points, trial_tags
from zoneout_core.errors import RunError
from zoneout_core.records import TrialState

KEY = "zoneout.key"
RUN = "zoneout.run"
TRIAL_STATUS = {
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.INTERRUPTED: "KILLED",
    TrialState.FAILED: "FAILED",
}
RUN_STATUS = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "budget": "FINISHED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}
_log = logging.getLogger(__name__)
_METRICS, _PARAMS = 800, 100  # in one log_batch, which takes 1000 items, at most 100 of them params
_FILE_BYTES = 100_000_000  # of a file that is sent
_LONGEST = 5000  # characters of a param or tag; MLflow takes 6000


class Milestone(NamedTuple):
    """A point of the parent run's chart, for each trial that finished."""

    time: float
    finished: int
    best: float | None
    """Lowest objective of the trials that finished without failing."""


@dataclass(slots=True)
class _Sent:
    """What MLflow has confirmed of one of its runs, so that only changes are sent."""

    run_id: str
    params: set[str]
    points: set[tuple[str, int]] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    files: dict[str, float] = field(default_factory=dict)
    status: str = ""
    began: int = 0
    """Its start time, in Unix milliseconds."""


class Mirror:
    """Brings the parent run and single trials up to date. Every method may raise whatever MLflow
    raises.

    Connecting creates the experiment. After an error call `forget`; the next call then starts from
    what MLflow has stored.
    """

    def __init__(
        self,
        name: str,
        tracking_uri: str,
        experiment: str,
        artifacts: Path | None,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        """`artifacts`: where a new experiment keeps its files, unless an MLflow server decides
        that.

        `warn` is called once for each file that is not sent because it does not belong to the run.
        """
        quiet()
        from mlflow import MlflowClient  # takes seconds to import, and only delivery needs it

        self.name = name
        self._client = MlflowClient(tracking_uri)
        remote = tracking_uri.startswith(("http://", "https://"))
        if remote or artifacts is None:
            self._location = None
        else:
            self._location = artifacts.resolve().as_uri()
        self._experiment = self._find_experiment(experiment)
        self._warn = warn
        self._refused = set[str]()
        self._sent: dict[str, _Sent] = {}
        self._stored: dict[str, list[Any]] = {}
        for run in self._search(tag_is(RUN, name)):
            self._stored.setdefault(run.data.tags.get(KEY, ""), []).append(run)

    def bring_run(self, story: Story, folder: Path, milestones: Sequence[Milestone]) -> None:
        """Send the parent run: definition, provenance, milestones, files and state. `folder` is the
        run's."""
        sent = self._parent(story)
        points = [("trials_finished", float(m.finished), m.time, m.finished) for m in milestones]
        reason = ""
        ended = None
        if story.closed is not None:
            reason = story.closed.reason
            ended = story.closed.time
        tags = {"zoneout.state": str(story.state), "zoneout.reason": reason}
        if story.metrics is not None:
            best = f"best_{story.metrics.objective}"
            points += [(best, m.best, m.time, m.finished) for m in milestones if m.best is not None]
            tags |= metric_tags(story.metrics)
        self._send(sent, points, run_params(folder / "sweep.json"), tags)
        names = {name: name for name in ("sweep.json", "provenance.json")}
        names |= {name: event.path for name, event in story.artifacts.items()}
        self._send_files(sent, folder, names)
        self._send_status(sent, RUN_STATUS.get(story.state, "RUNNING"), ended)

    def bring_trial(self, story: Story, trial: TrialStory) -> None:
        """Send the child run of one trial. A trial that still waits has none."""
        if trial.state is TrialState.WAITING:
            return
        identity = {
            "mlflow.runName": f"{trial.trial:05d}",
            "mlflow.parentRunId": self._parent(story).run_id,
        }
        sent = self._find(self._key(trial.trial), trial.started or trial.asked, identity)
        params = {**trial.params, "seed": trial.seed}
        row = trial_rows.row(trial)
        self._send(sent, trial_points(row), params, identity | trial_tags(row))
        times = (record.time for record in trial.records.values())
        last = trial.ended or max(times, default=trial.asked)
        self._send_status(sent, TRIAL_STATUS[trial.state], last)

    def forget(self, trial: int | None) -> None:
        """Assume nothing about what was sent for this trial (None = for the run itself)."""
        self._sent.pop(self._key(trial), None)
        self._stored.pop(self._key(trial), None)

    def _key(self, trial: int | None) -> str:
        if trial is None:
            return self.name
        return f"{self.name}/{trial:05d}"

    def _parent(self, story: Story) -> _Sent:
        return self._find(self._key(None), story.began or 0.0, {"mlflow.runName": self.name})

    def _find_experiment(self, name: str) -> str:
        """The experiment's id. The experiment is created if missing, and restored if deleted."""
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self._client.create_experiment(name, self._location))
            except MlflowException:  # another process may have created it meanwhile
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _search(self, query: str) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], query, max_results=1000, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _find(self, key: str, began: float, identity: Mapping[str, str]) -> _Sent:
        """The run with this key, created when there is none. Of several the oldest counts, and the
        others are deleted."""
        if key in self._sent:
            return self._sent[key]
        query = tag_is(KEY, key)
        runs = self._stored.pop(key, None) or list(self._search(query))
        if not runs:
            tags = {KEY: key, RUN: self.name, **identity}
            self._client.create_run(self._experiment, start_time=int(began * 1000), tags=tags)
            # Another process may have created it at the same moment.
            runs = list(self._search(query))
        run, *others = sorted(runs, key=lambda r: (r.info.start_time, r.info.run_id))
        for other in others:
            self._client.delete_run(other.info.run_id)
        return self._sent.setdefault(
            key,
            _Sent(
                run.info.run_id,
                set(run.data.params),
                status=run.info.status,
                began=run.info.start_time or 0,
            ),
        )

    def _send(
        self,
        sent: _Sent,
        points: Iterable[MetricPoint],
        params: Mapping[str, object],
        tags: Mapping[str, str],
    ) -> None:
        """Send points that were not sent before, params that were not stored before (MLflow never
        changes a param), and tags that changed."""
        from mlflow.entities import Metric, Param, RunTag

        new_points = [p for p in points if (p[0], p[3]) not in sent.points]
        metrics = [
            Metric(key, value, int(time * 1000), step) for key, value, time, step in new_points
        ]
        new_params = [Param(k, _fitting(str(v))) for k, v in params.items() if k not in sent.params]
        new_tags = [RunTag(k, _fitting(v)) for k, v in tags.items() if sent.tags.get(k) != v]
        while metrics or new_params or new_tags:
            tags_now: list[RunTag] = []
            if len(metrics) <= _METRICS and len(new_params) <= _PARAMS:
                # The state goes last, so that whoever reads `complete` finds everything.
                tags_now, new_tags = new_tags, []
            self._client.log_batch(sent.run_id, metrics[:_METRICS], new_params[:_PARAMS], tags_now)
            metrics, new_params = metrics[_METRICS:], new_params[_PARAMS:]
        sent.points.update((key, step) for key, _, _, step in new_points)
        sent.params |= set(params)
        sent.tags |= tags

    def _send_files(self, sent: _Sent, folder: Path, files: Mapping[str, str]) -> None:
        """Send `files`: paths below the run's folder, by their names in MLflow. The story has
        checked both."""
        for name, path in files.items():
            try:
                content = read_inside(folder, path, _FILE_BYTES)
            except FileNotFoundError:
                continue
            except RunError as error:
                if name not in self._refused:
                    self._warn(f"{error} It is not sent to MLflow.")
                self._refused.add(name)
                continue
            if sent.files.get(name) == content.changed:
                continue
            data = content.data
            if name.endswith(".json"):  # an earlier version wrote passwords into them
                data = secrets.mask(data.decode(errors="replace")).encode()
            with TemporaryDirectory() as temporary:
                copy = Path(temporary) / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(data)
                self._client.log_artifacts(sent.run_id, temporary)
            sent.files[name] = content.changed

    def _send_status(self, sent: _Sent, status: str, ended: float | None) -> None:
        if status == sent.status:
            return
        if status == "RUNNING":
            self._client.update_run(sent.run_id, status=status)
        else:
            end = None
            if ended is not None:
                end = max(int(ended * 1000), sent.began)  # clocks may step back
            self._client.set_terminated(sent.run_id, status, end)
        sent.status = status


def has_run(tracking_uri: str, experiment: str, name: str) -> bool:
    """Whether MLflow has the run `name`. Raises what MLflow raises when it does not answer."""
    quiet()
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri)
    stored = client.get_experiment_by_name(experiment)
    if stored is None:
        return False
    return bool(client.search_runs([stored.experiment_id], tag_is(KEY, name), max_results=1))


def _fitting(text: str) -> str:
    """A param or tag of a length that MLflow stores. One that was cut says so."""
    if len(text) <= _LONGEST:
        return text
    note = f"... (cut: {len(text):,} characters; the whole is in the run's folder)"
    return text[: _LONGEST - len(note)] + note


def quiet() -> None:
    """Give MLflow short timeouts, no retries (by default it blocks for 246 s), and no chatter.

    Variables that the user has set stay.
    """
    for name, value in {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
    }.items():
        os.environ.setdefault(name, value)
    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)
