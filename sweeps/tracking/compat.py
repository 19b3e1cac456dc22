"""What is used of MLflow though MLflow does not promise to keep it. Checked with MLflow 3.17;
`tests/sweeps/test_compat.py` fails when another version changes it.
"""

from collections.abc import Container


def is_newest_schema(uri: str, tables: Container[str]) -> bool:
    """Whether the database at `uri`, which has `tables`, has all of MLflow's in their newest
    version. MLflow's public way is to migrate it, which must not happen here."""
    from mlflow.store.db import utils
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.tracking import dbmodels  # noqa: F401  # the tables make themselves known

    engine = utils.create_sqlalchemy_engine(uri)
    try:
        newest = utils._get_schema_version(engine) == utils._get_latest_schema_revision()
    finally:
        engine.dispose()
    return newest and all(table in tables for table in Base.metadata.tables)


def forget_store(uri: str) -> None:
    """Close the store that MLflow keeps open at `uri` for as long as this process lives. MLflow has
    no public way to close one, and the file behind it is to be replaced."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking._tracking_service.utils import _tracking_store_registry

    _tracking_store_registry._get_store_with_resolved_uri.cache_clear()
    engine = SqlAlchemyStore._engine_map.pop(uri, None)
    if engine is not None:
        engine.dispose()
