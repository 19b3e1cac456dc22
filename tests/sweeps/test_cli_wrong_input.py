"""Wrong input at every command: a sentence with rule, value and next step, exit code 2, nothing left
behind."""

import json
from pathlib import Path

import pytest

from sweeps.books.run_folder import RunFolder
from tests.sweeps.commands import home_of, sweep
from tests.sweeps.driven import settings

INLINE = ("--inline", "--tracking", "none")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", ""], "There is no setting named ''. List all with: sweep explain"),
        (
            ["explain", "optim."],
            "There is no setting named 'optim.'. Did you mean 'optim' or 'optim.eps' or 'optim.clip'? List all with: "
            "sweep explain",
        ),
        (["explain", "ümlaut"], "There is no setting named 'ümlaut'. List all with: sweep explain"),
        (
            ["show", "demo", "--set", "seeds="],
            "seeds must be whole numbers, separated by commas, but is ''. Set it with --set seeds=0,1,2.",
        ),
        (
            ["show", "demo", "--set", "seeds=0,,1"],
            "seeds must be whole numbers, separated by commas, but is '0,,1'. Set it with --set seeds=0,1,2.",
        ),
        (
            ["show", "demo", "--set", "variant=x"],
            "There is no variant of char_pydoc named 'x'. What exists: topics.",
        ),
        (
            ["reproduce", "table1", "--rows", ",", "--show"],
            "--rows takes names of rows, separated by commas, but got ','. Leave it out for all rows.",
        ),
        (
            ["reproduce", "table1", "--fresh", "--show"],
            "--fresh trains everything anew and --show trains nothing. Leave one of them out.",
        ),
        (
            ["deliver"],
            "sweep deliver takes one RUN, or --all, but got neither. For example: sweep deliver latest",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_input_is_told_in_one_line(arguments: list[str], message: str) -> None:
    done = sweep(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("address", ["", "nope", "a:b", "127.0.0.1", "127.0.0.1:x"])
def test_an_address_that_cannot_be_one_leaves_no_folder(address: str, tmp_path: Path) -> None:
    done = sweep("run", "demo", *settings(), "--home", tmp_path / "home", "--address", address)
    assert done == (
        2, "",
        f"error: --address must be local, auto or HOST:PORT, but is {address!r}. For example: --address 127.0.0.1:6379\n",
    )  # fmt: skip
    assert not (tmp_path / "home").exists()


def test_a_word_is_no_tracking_uri(tmp_path: Path) -> None:
    done = sweep("run", "demo", *settings(), "--home", tmp_path / "home", "--tracking", "mlflow")
    assert (done.code, done.out) == (2, "")
    assert "must be a URI that MLflow knows (http, https, sqlite," in done.err
    assert "but is 'mlflow'" in done.err
    assert not (tmp_path / "home").exists()


COMMANDS = {
    "ls --runs": "--home",
    "run demo": "--home",
    "resume latest": "--home",
    "status latest": "--home",
    "stop latest": "--home",
    "report latest": "--home",
    "export latest": "--home",
    "deliver latest": "--home",
    "reproduce table1": "--home",
    "ui": "--home",
    "data ls": "--data",
    "data fetch char_ptb": "--data",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_in_place_of_a_folder_is_refused(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = sweep(*command.split(), COMMANDS[command], tmp_path / "file", "--json")
    assert done.code == 2
    assert json.loads(done.out)["message"] == (
        f"{COMMANDS[command]} must be a folder, but {tmp_path}/file is a file. Name another folder, "
        "or leave the option out."
    )


@pytest.mark.parametrize("command", [["run", "demo", *settings(), *INLINE],
                                     ["reproduce", "table1", "--scale", "smoke", "--show"]])  # fmt: skip
def test_a_home_that_cannot_be_made_is_a_users_error(command: list[str]) -> None:
    done = sweep(*command, "--home", "/proc/nowhere")
    assert (done.code, done.out) == (2, "")
    assert "/proc/nowhere" in done.err
    assert "which must be writable, but: No such file or directory." in done.err


def test_delivering_nothing_says_so(tmp_path: Path) -> None:
    assert sweep("deliver", "--all", "--home", tmp_path) == (
        0, f"No run in {tmp_path} yet, so there is nothing to deliver.\n", ""
    )  # fmt: skip
    assert json.loads(sweep("deliver", "--all", "--home", tmp_path, "--json").out) == {"runs": []}


@pytest.mark.parametrize("seconds", ["-1", "nan", "soon"])
def test_a_timeout_is_a_number_of_seconds(seconds: str, finished: RunFolder) -> None:
    done = sweep("deliver", "latest", *home_of(finished), "--timeout", seconds)
    assert (done.code, done.out) == (2, "")
    assert "Invalid value for '--timeout'" in done.err


@pytest.mark.parametrize("name", ["", ".", "..", "../finished", "LATEST", "ümlaut"])
@pytest.mark.parametrize("verb", ["status", "resume", "stop", "export", "report", "deliver"])
def test_a_name_that_is_no_run_is_no_way_out_of_the_home(
    verb: str, name: str, finished: RunFolder
) -> None:
    done = sweep(verb, name, *home_of(finished))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
