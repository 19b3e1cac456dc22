"""Write the table of journal events into docs/architecture.md: `python docs/list_events.py`.

The table is made from the classes of `sweeps.books.events` and stands between two comments. With
`--check` nothing is written, and the exit code is 1 where the table is not up to date.
"""

import sys
from inspect import getdoc
from pathlib import Path

from msgspec import structs

from sweeps.books.events import CLASSES

FILE = Path(__file__).with_name("architecture.md")
BEGIN = "<!-- events: written by `python docs/list_events.py` -->"
END = "<!-- end of events -->"


def table() -> str:
    """A line for each kind of event, in Markdown."""
    lines = ["| event | class | fields | meaning |", "|---|---|---|---|"]
    for kind, event in CLASSES.items():
        fields = [field for field in structs.fields(event) if field.encode_name != "time"]
        names = " ".join(_shown(field) for field in sorted(fields, key=_is_optional))
        meaning = " ".join((getdoc(event) or "").split())
        lines.append(f"| `{kind}` | `{event.__name__}` | {names} | {meaning} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """The text of the page, with the table of today."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _is_optional(field: structs.FieldInfo) -> bool:
    return not field.required


def _shown(field: structs.FieldInfo) -> str:
    if _is_optional(field):
        return f"[`{field.encode_name}`]"
    return f"`{field.encode_name}`"


def main() -> int:
    """Write the table, or check it."""
    text = FILE.read_text()
    if "--check" in sys.argv[1:]:
        return int(with_table(text) != text)
    FILE.write_text(with_table(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
