"""Filters for MLflow's search, in its own small language."""

from zoneout_core.errors import RunError


def tag_is(key: str, value: str) -> str:
    """The filter for runs whose tag `key` is `value`.

    Raises `RunError` for a value with both kinds of quotes, since the language has no escapes.
    """
    if "'" in value and '"' in value:
        raise RunError(
            f"MLflow can search for a name with one kind of quotes, but {value!r} has both. Rename"
            " the run's folder."
        )
    if "'" in value:
        quote = '"'
    else:
        quote = "'"
    return f"tags.`{key}` = {quote}{value}{quote}"
