"""The text under each field of a dataclass, as users read it. Imports no torch.

A setting is explained by the string literal under its field. Python drops that literal, so it is
read from the source of the class.
"""

import ast
import functools
import inspect
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from itertools import pairwise


@functools.cache
def field_texts(owner: type) -> Mapping[str, str]:
    """The text under each field of dataclass `owner`, inherited ones included, on one line; empty
    where there is none."""
    literals: dict[str, str] = {}
    for kind in reversed(owner.__mro__):
        if is_dataclass(kind):
            literals |= _literals(kind)
    return {f.name: literals.get(f.name, "") for f in fields(owner)}


def fields_without_text(owner: type) -> list[str]:
    """The fields of dataclass `owner` that nothing explains."""
    return [name for name, text in field_texts(owner).items() if not text]


def file_summary(owner: type) -> str:
    """The first paragraph of the docstring of the file that declares `owner`, on one line; empty
    where there is none."""
    module = sys.modules.get(owner.__module__)
    paragraph = (getattr(module, "__doc__", "") or "").partition("\n\n")[0]
    return " ".join(paragraph.split())


def _literals(kind: type) -> dict[str, str]:
    """The literals in the source of this class alone; none where the source cannot be found."""
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):  # defined in an interpreter, or in a module without a file
        return {}
    definition = ast.parse(textwrap.dedent(source)).body[0]
    assert isinstance(definition, ast.ClassDef), f"{kind} is a class"
    texts: dict[str, str] = {}
    for statement, below in pairwise(definition.body):
        match statement, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                texts[name] = " ".join(text.split())
            case _:
                pass
    return texts
