"""The command line, called in this process: what a person would see on a terminal 80 columns
wide."""

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import NamedTuple

import pytest

from sweeps.books.run_folder import RunFolder
from sweeps.cli import main


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Of stdout, without what only fills a line up."""
        return [line.rstrip() for line in self.out.splitlines()]


def sweep(*arguments: object, width: int = 80) -> Done:
    """`sweep ARGUMENTS`"""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("COLUMNS", str(width))
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
    code = ended.value.code
    assert code is None or isinstance(code, int)
    return Done(code or 0, out.getvalue(), err.getvalue())


def home_of(run: RunFolder) -> tuple[str, str]:
    """`--home` of a run."""
    return "--home", str(run.folder.parent)
