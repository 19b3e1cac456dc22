"""The file that figure 6 keeps for each trial."""

import csv
from pathlib import Path

from sweeps.paper.reproductions import figure6


def test_shares_come_back_as_they_went(tmp_path: Path) -> None:
    file = tmp_path / "report" / "propagation-00003.csv"
    figure6._write(file, {"carried": {"c": [0.1 + 0.2, 1e-7], 'h, or "state"\nof it': [1.0]}})
    assert file.read_bytes().startswith(
        b"of,state,step,share\ncarried,c,1,0.30000000000000004\ncarried,c,2,1e-07\n"
    )
    with file.open(newline="") as stream:
        *_, last = csv.DictReader(stream)
    assert last == {"of": "carried", "state": 'h, or "state"\nof it', "step": "1", "share": "1.0"}
