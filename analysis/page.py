"""A reproduction as a page of Markdown, for a README or a gallery. A pure function of its
numbers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PageNumbers = Mapping[str, Any]
"""The document that `sweep reproduce --json` prints."""


def page(numbers: PageNumbers, title: str, notes: Sequence[str], figures: Sequence[str]) -> str:
    """The page. figures: file names of the pictures beside it."""
    return "\n".join([*_head(numbers, title), *_blocks(numbers), *_foot(notes, figures)]) + "\n"


def _head(numbers: PageNumbers, title: str) -> Iterator[str]:
    changed = "".join(f" --set {key}={value}" for key, value in numbers["set"].items())
    yield f"## {title}"
    yield ""
    yield f"`sweep reproduce {numbers['reproduction']} --scale {numbers['scale']}{changed}`"
    yield ""


def _blocks(numbers: PageNumbers) -> Iterator[str]:
    for block in numbers["blocks"]:
        if not any(row["seeds"] for row in block["rows"]) and not block["best"]:
            yield f"**{block['title']}**: not run at this scale."
            yield ""
            continue
        yield f"**{block['title']}**"
        yield ""
        differing = block["not_as_in_the_paper"]
        if differing.get(""):
            yield f"Not as in the paper: {', '.join(differing[''])}."
            yield ""
        if block["rows"]:
            yield from _table(block)
        if block["best"]:
            params = ", ".join(
                f"{key.rpartition('.')[2]} = {value:g}"
                for key, value in block["best"]["params"].items()
            )
            yield f"Best of {block['best']['of']} trials: {block['best']['value']:.4f} at {params}."
            yield ""
        yield _origin(block)
        yield ""


def _table(block: PageNumbers) -> Iterator[str]:
    columns = block["columns"]
    if block["scale"] == "paper":
        ours = "ours"
    else:
        ours = f"ours ({block['scale']})"
    published = [
        any(row["numbers"][c["metric"]]["paper"] is not None for row in block["rows"])
        for c in columns
    ]
    heads = ["system"]
    for column, is_published in zip(columns, published, strict=True):
        if is_published:
            heads.append(f"{column['title']}, paper")
        heads.append(f"{column['title']}, {ours}")
    lines = []
    for row in block["rows"]:
        cells = [row["system"]]
        for column, is_published in zip(columns, published, strict=True):
            number = row["numbers"][column["metric"]]
            if is_published:
                cells.append(_number(number["paper"]))
            cells.append(_ours(number, row["state"]))
        epochs = "-".join(str(epoch) for epoch in sorted(set(row["epochs"])))
        lines.append([*cells, str(len(row["seeds"])), epochs])
    yield _row([*heads, "seeds", "epochs"])
    yield _row(["---", *["---:"] * (len(heads) + 1)])
    yield from (_row(line) for line in lines)
    yield ""
    for column in columns:
        yield f"- {column['title']}: {column['protocol']} (`{column['metric']}`)"
    for row in block["rows"]:
        remarks = [row["note"]] if row["note"] else []
        differing = block["not_as_in_the_paper"].get(row["label"], [])
        if differing:
            remarks.append(f"not as in the paper: {', '.join(differing)}")
        if remarks:
            yield f"- {row['system']}: {'; '.join(remarks)}"
    yield ""


def _origin(block: PageNumbers) -> str:
    if not block["runs"]:
        return ""
    hardware = sorted({machine for row in block["rows"] for machine in row["hardware"]})
    parts = [f"Commit {', '.join(block['commits']) or 'unknown'}"]
    parts += [f"trained on {machine}" for machine in hardware]
    parts += [f"{block['seconds'] / 60:.1f} lane-minutes", f"runs {', '.join(block['runs'])}"]
    return f"{'; '.join(parts)}."


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ours(number: PageNumbers, state: str) -> str:
    if number["ours"] is None:
        return state
    if number["interval"] is None:
        return _number(number["ours"])
    low, high = number["interval"]
    return f"{_number(number['ours'])} ± {_number((high - low) / 2)}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) < 20:
        return f"{value:.3f}"
    return f"{value:.1f}"


def _foot(notes: Sequence[str], figures: Sequence[str]) -> Iterator[str]:
    for figure in figures:
        yield f"![{figure.rpartition('.')[0]}]({figure})"
        yield ""
    for note in notes:
        yield f"- {note}"
