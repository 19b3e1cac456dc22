"""What the modules `compat` of sweeps take for granted about Optuna, Ray and MLflow."""

import inspect
import io
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage

from sweeps.books import compat, compat_database

SPACE = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}


@pytest.fixture
def database(tmp_path: Path) -> compat_database.OneTryStorage:
    return compat_database.OneTryStorage(f"sqlite:///{tmp_path / 'study.db'}")


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


# Optuna


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sequence_sampler_takes_the_point_of_its_index() -> None:
    options: Any = {"qmc_type": "sobol", "scramble": True, "seed": 3}
    counting = optuna.create_study(sampler=optuna.samplers.QMCSampler(**options))
    trials = [counting.ask(SPACE) for _ in range(6)]
    for trial in trials:
        counting.tell(trial, 0.0)
    sampler = compat.SequenceSampler(**options)
    for trial in trials[2:]:
        sampler.index = trial.number - 1  # Optuna draws the first trial at random
        point = sampler.sample_relative(counting, counting.trials[trial.number], dict(SPACE))
        assert point == trial.params, "QMCSampler asks _find_sample_id no more"


def test_a_named_hyperband_pruner_assigns_brackets_by_its_name() -> None:
    options = {"min_resource": 1, "max_resource": 27, "reduction_factor": 3}
    plain, named = optuna.pruners.HyperbandPruner(**options), compat.NamedHyperbandPruner(**options)
    named.name = "a sweep"
    a_sweep, a_run = (optuna.create_study(study_name=name) for name in ("a sweep", "a run"))
    assigned = {"a sweep": [], "a run": [], "named": []}
    for study in (a_sweep, a_run):
        for number in range(12):
            trial = study.ask()
            trial.report(float(number), 1)
            for pruner, key in ((plain, study.study_name), (named, "named")):
                frozen = study.trials[number]
                pruner.prune(study, frozen)
                assigned[key].append(pruner._get_bracket_id(study, frozen))
    assert assigned["named"] == 2 * assigned["a sweep"]
    assert assigned["a run"] != assigned["a sweep"], "else the name would not be needed"
    assert len(set(assigned["named"])) > 1


def test_a_rung_is_kept_under_the_prefix() -> None:
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1)
    study = optuna.create_study(pruner=pruner)
    trial = study.ask()
    trial.report(0.25, 1)
    trial.should_prune()
    assert study.trials[0].system_attrs == {f"{compat.RUNG_PREFIX}0": 0.25}


def test_values_of_an_enqueued_trial_are_a_system_attribute() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 0.5})
    assert study.trials[0].system_attrs[compat.FIXED_PARAMS] == {"x": 0.5}


def test_the_cache_is_the_one_that_optuna_puts_before_a_database(
    database: compat_database.OneTryStorage,
) -> None:
    study = optuna.create_study(storage=database)
    assert type(compat_database.cached(database)) is type(study._storage)


def test_a_database_is_tried_once(
    database: compat_database.OneTryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=database)
    assert study.ask(SPACE).number == 0
    tries = []

    def refuse(*_: object) -> None:
        tries.append(1)
        raise optuna.exceptions.StorageInternalError

    monkeypatch.setattr(compat_database.OneTryStorage, "_get_prepared_new_trial", refuse)
    with pytest.raises(optuna.exceptions.StorageInternalError):
        study.ask()
    assert tries == [1], "RDBStorage does not make trials by _create_new_trial any more"
    assert parameters(RDBStorage._create_new_trial) == ["self", "study_id", "template_trial"]


# Ray


def test_ray_reads_its_authentication_when_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ray._raylet import AuthenticationMode, get_authentication_mode

    from sweeps.drivers import compat as ray_compat

    token = tmp_path / "token"
    token.write_text("a" * 64)
    try:
        with monkeypatch.context() as patch:
            patch.setenv("RAY_AUTH_MODE", "token")
            patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
            ray_compat.reread_environment()
            assert get_authentication_mode() == AuthenticationMode.TOKEN
    finally:
        ray_compat.reread_environment()
    assert get_authentication_mode() == AuthenticationMode.DISABLED


def test_ray_decides_by_a_constant_where_it_listens() -> None:
    from ray._private import ray_constants, services

    from sweeps.drivers import compat as ray_compat

    assert ray_compat.LOOPBACK_VARIABLE in inspect.getsource(ray_constants)
    assert "ENABLE_RAY_CLUSTER" in inspect.getsource(services)
    before = ray_constants.ENABLE_RAY_CLUSTER
    with ray_compat.on_the_loopback():
        assert ray_constants.ENABLE_RAY_CLUSTER is False
    assert ray_constants.ENABLE_RAY_CLUSTER is before


# Rich


def test_every_text_of_a_console_is_filtered_and_its_control_codes_are_not() -> None:
    from rich.table import Table

    from sweeps.cli.compat import filtered_console

    file = io.StringIO()
    console = filtered_console(str.upper, file=file, force_terminal=True, color_system="standard")
    table = Table("column")
    table.add_row("cell")
    console.print("text", style="bold")
    console.print(table)
    shown = file.getvalue()
    assert "\x1b[1mTEXT\x1b[0m" in shown
    assert "COLUMN" in shown
    assert "CELL" in shown


# MLflow


def test_mlflow_can_be_asked_for_its_schema_and_closes_a_store(tmp_path: Path) -> None:
    import sqlalchemy
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    from sweeps.tracking import compat as mlflow_compat

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    SqlAlchemyStore(uri, str(tmp_path / "artifacts"))
    engine = SqlAlchemyStore._engine_map[uri]
    tables = sqlalchemy.inspect(engine).get_table_names()
    assert mlflow_compat.is_newest_schema(uri, tables)
    assert not mlflow_compat.is_newest_schema(uri, set(tables) - {"experiments"})
    mlflow_compat.forget_store(uri)
    assert uri not in SqlAlchemyStore._engine_map
