"""What other libraries keep private is used in modules named `compat` only, each of which says the
version that was checked."""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(
    file
    for package in ("analysis", "search_spaces", "sweeps", "zoneout_core")
    for file in (ROOT / package).rglob("*.py")
)
COMPAT = [file for file in FILES if file.stem.startswith("compat")]
OPERATORS = "mkldnn"
"""The name space torch.ops.mkldnn, whose operators are all private; torch.backends.mkldnn is not."""

DOCUMENTED = {"_exit", "_asdict", "_replace"}
"""Public by the standard library's documentation, in spite of their names."""
METACLASSES_WRITE = {"_abc_impl", "_is_protocol", "_backward_cls"}
"""Into every class of theirs: those of abc, typing.Protocol and torch.autograd.Function."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def trees() -> dict[Path, ast.Module]:
    return {file: ast.parse(file.read_text()) for file in FILES}


def defined_here() -> set[str]:
    """Private names that some module of ours (compat apart) defines or assigns."""
    names = set()
    for file, tree in trees().items():
        if file in COMPAT:
            continue
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    names.add(name)
                case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                    names.add(name)
                case ast.ImportFrom(module=str(module)):  # `from package import _module`
                    names |= {alias.name for alias in node.names if is_ours(module)}
    return {name for name in names if is_private(name)}


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in {"analysis", "search_spaces", "sweeps", "zoneout_core"}


def is_self(node: ast.expr) -> bool:
    """`self`, `cls` or `super()`: whoever else is asked keeps its private things to itself."""
    return ast.unparse(node) in ("self", "cls", "super()")


def is_a_librarys(module: str) -> bool:
    return not is_ours(module) and module.partition(".")[0] not in sys.stdlib_module_names


def private_uses(tree: ast.Module, ours: set[str]) -> Iterator[str]:
    """What a module uses of others: private modules and names that it imports, and private
    attributes that nobody here defines.

    A method may call a private method of its own module on another object, such as a copy.
    """
    methods = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    if any(is_private(part) for part in alias.name.split(".")):
                        yield f"{node.lineno}: import {alias.name}"
            case ast.ImportFrom(module=str(module)) if not is_ours(module):
                names = [*module.split("."), *(alias.name for alias in node.names)]
                if any(is_private(name) for name in names):
                    yield f"{node.lineno}: from {module}"
            case ast.Attribute(attr=name, value=owner) if is_private(name):
                if name in DOCUMENTED or name in methods or (name in ours and is_self(owner)):
                    continue
                yield f"{node.lineno}: {ast.unparse(node)}"
            case ast.Attribute(attr=name, value=ast.Attribute(attr="ops")) if name == OPERATORS:
                yield f"{node.lineno}: torch.ops.{name}"


def test_a_private_use_is_found() -> None:
    source = """
from optuna.storages._rdb import models
from torch import _VF
import ray._private
from sweeps.books import _ours
study._own; torch._C; torch.ops.mkldnn.x; self._own; self._all; torch.backends.mkldnn; os._exit
"""
    found = [use.partition(": ")[2] for use in private_uses(ast.parse(source), {"_own"})]
    assert sorted(found) == [
        "from optuna.storages._rdb",
        "from torch",
        "import ray._private",
        "self._all",
        "study._own",
        "torch._C",
        "torch.ops.mkldnn",
    ]


def test_private_things_of_others_are_used_in_compat_only() -> None:
    ours = defined_here()
    found = {
        str(file.relative_to(ROOT)): uses
        for file, tree in trees().items()
        if file not in COMPAT and (uses := list(private_uses(tree, ours)))
    }
    assert found == {}, "move it into the compat module of its package, with a test"


def test_no_method_of_ours_takes_the_place_of_a_private_one() -> None:
    """By accident neither: a new version may have a private method of the same name."""
    replaced = {}
    for file in FILES:
        if file in COMPAT or file.name == "submit.py":
            continue
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for kind in vars(importlib.import_module(name)).values():
            if not isinstance(kind, type) or kind.__module__ != name:
                continue
            bases = [base for base in kind.__mro__ if is_a_librarys(base.__module__)]
            for member in vars(kind):
                if member in METACLASSES_WRITE:
                    continue
                if is_private(member) and any(member in vars(base) for base in bases):
                    replaced[f"{name}.{kind.__name__}.{member}"] = str(bases[0])
    assert replaced == {}


@pytest.mark.parametrize("file", COMPAT, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_compat_module_was_checked_with_the_version_that_is_pinned(file: Path) -> None:
    """When a pin moves, read the module and the library again, then change its docstring."""
    docstring = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split())
    checked = re.search(r"Checked with (\w+) ((?:[\d.]+\d and )?)(\d+\.\d+)", docstring)
    assert checked, "its docstring says: Checked with LIBRARY VERSION"
    (pinned,) = re.findall(
        rf"^{checked[1].lower()}==(\d+\.\d+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE
    )
    assert checked[3] == pinned
