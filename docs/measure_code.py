"""Figures of the code's form: `python docs/measure_code.py [FOLDER ...]`, else of four packages.

Prints a line each: sizes of files and functions; conditional expressions, comprehensions and `Any`
per thousand lines that are not blank; conditional expressions inside others; lines wider than 100
columns; and type names that more than one module defines.
"""

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

PACKAGES = ("analysis", "search_spaces", "sweeps", "zoneout_core")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
WIDTH = 100


def spread(sizes: list[int]) -> str:
    """Median, 90th percentile and maximum."""
    tenths = quantiles(sizes, n=10)
    return f"median {tenths[4]:.0f}, p90 {tenths[8]:.0f}, max {max(sizes)}"


def type_names(tree: ast.Module) -> Iterator[str]:
    """Classes and type aliases of a module."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if (
                name[0].isupper()
                and not name.isupper()
                and not isinstance(node.value, ast.Constant)
            ):
                yield name


def nested(tree: ast.Module) -> int:
    """Conditional expressions that stand inside another one."""
    conditionals = [node for node in ast.walk(tree) if isinstance(node, ast.IfExp)]
    inner = [node for outer in conditionals for node in ast.walk(outer) if node is not outer]
    return sum(isinstance(node, ast.IfExp) for node in inner)


def measure(folders: list[Path]) -> dict[str, str]:
    """Every figure by its name."""
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    sizes, functions, counts = [], [], Counter[str]()
    homes = defaultdict(set)
    for file in files:
        text = file.read_text()
        tree = ast.parse(text)
        lines = text.splitlines()
        sizes.append(len(lines))
        counts["written"] += sum(bool(line.strip()) for line in lines)
        counts["wide"] += sum(len(line) > WIDTH for line in lines)
        counts["nested"] += nested(tree)
        for name in type_names(tree):
            homes[name].add(str(file))
        for node in ast.walk(tree):
            counts["conditional"] += isinstance(node, ast.IfExp)
            counts["comprehension"] += isinstance(node, COMPREHENSIONS)
            counts["any"] += isinstance(node, ast.Name) and node.id == "Any"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append(node.end_lineno - node.body[0].lineno + 1)
    thousands = counts["written"] / 1000
    shared = sorted(name for name, where in homes.items() if len(where) > 1)
    return {
        "files, lines": f"{len(files)}, {sum(sizes):,}",
        "lines of a file": spread(sizes),
        "lines of a function": spread(functions),
        "conditional expressions per 1,000 lines": f"{counts['conditional'] / thousands:.1f}",
        "conditional expressions inside others": str(counts["nested"]),
        "comprehensions per 1,000 lines": f"{counts['comprehension'] / thousands:.1f}",
        "`Any` per 1,000 lines": f"{counts['any'] / thousands:.1f}",
        f"lines wider than {WIDTH}": str(counts["wide"]),
        "type names of several modules": ", ".join(shared) or "none",
    }


def main() -> None:
    """Print the table."""
    root = Path(__file__).parent.parent
    folders = [Path(folder) for folder in sys.argv[1:]] or [root / name for name in PACKAGES]
    for name, figure in measure(folders).items():
        sys.stdout.write(f"{name}: {figure}\n")


if __name__ == "__main__":
    main()
