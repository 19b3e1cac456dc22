"""Commands as they are printed, ready to be pasted into a shell in any folder."""

import json
import shlex
from pathlib import Path


def in_home(home: Path, *words: str) -> str:
    """`sweep WORDS` for the runs in `home`."""
    return shlex.join(["sweep", *words, "--home", str(home.absolute())])


def on_run(folder: Path, verb: str) -> str:
    """`sweep VERB` for the run in `folder`."""
    folder = folder.absolute()
    if verb == "resume":
        data = _data(folder / "lock")
    else:
        data = ""
    command = in_home(folder.parent, verb, folder.name)
    if data:
        return f"{command} --data {shlex.quote(data)}"
    return command


def _data(lock: Path) -> str:
    """The folder of the data files that the run's last driver read; empty if it needed none."""
    try:
        return str(json.loads(lock.read_text()).get("data", ""))
    except (OSError, ValueError, AttributeError):
        return ""
