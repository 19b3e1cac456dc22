"""For `pytest -p zoneout_core.conformance.options`: the option `--plugins`."""

from pathlib import Path

import pytest

from zoneout_core.config import registry
from zoneout_core.config.plugins import Plugins
from zoneout_core.errors import PluginError


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--plugins DIR`"""
    parser.addoption(
        "--plugins",
        dest="plugin_folder",
        metavar="DIR",
        type=Path,
        help="the folder of plug-ins to test (default: $ZONEOUT_PLUGINS)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Use the plug-ins before any test is collected: tests take their parameters from them."""
    folder = config.getoption("plugin_folder")
    if folder is None:
        return
    try:
        registry.use(Plugins.read(folder))
    except PluginError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header() -> str:
    """The files that are tested."""
    plugins = registry.active()
    if not plugins:
        return "plug-ins: none, so all of the project's files are tested"
    names = [name for name, _ in plugins.sources if not name.rpartition("/")[2].startswith("_")]
    return f"plug-ins: {', '.join(names)} in {plugins.folder}"
