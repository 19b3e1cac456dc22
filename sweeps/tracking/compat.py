"""The private parts of MLflow that this package uses. Checked with MLflow 3.17;
`tests/sweeps/test_compat.py` fails when another version changes them.
"""

from collections.abc import Container


def is_newest_schema(uri: str, tables: Container[str]) -> bool:
    """Whether the database at `uri`, which has `tables`, has all tables of MLflow in their newest
    version. MLflow's public way to find out also migrates it, which must not happen here."""
    from mlflow.store.db import utils
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.tracking import dbmodels  # noqa: F401  # registers the tables

    engine = utils.create_sqlalchemy_engine(uri)
    try:
        newest = utils._get_schema_version(engine) == utils._get_latest_schema_revision()
    finally:
        engine.dispose()
    return newest and all(table in tables for table in Base.metadata.tables)


def forget_store(uri: str) -> None:
    """Close the store at `uri`, because its file is to be replaced. MLflow keeps it open as long as
    this process lives, and has no public way to close it."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking._tracking_service.utils import _tracking_store_registry

    _tracking_store_registry._get_store_with_resolved_uri.cache_clear()
    engine = SqlAlchemyStore._engine_map.pop(uri, None)
    if engine is not None:
        engine.dispose()
