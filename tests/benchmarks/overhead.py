"""What a trial costs besides training: `python tests/benchmarks/overhead.py [--json]`.

A sweep of trials that do no work, through everything: Optuna's journal, Tune, thin clients, the
lane servers, our journal, with delivery to MLflow (SQLite) beside it. Client processes start while
the first trials are already ending, so the first 100 trials count as start-up and the 100 after
them are measured. `--inline` shows what is Ray's part.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

from sweeps import definition, runner
from sweeps.books.run_folder import Home
from sweeps.runner import DriveOptions

START_UP, TRIALS = 100, 100
LIMIT_MS = 60.0


def measure(home: Path, *, inline: bool, lanes: int, tracking: str) -> dict[str, float | str | int]:
    """Milliseconds per trial after start-up, and start-up in seconds."""
    values = {
        "space": "learning_rate",
        "sampler": "random",
        "num_trials": START_UP + TRIALS,
        "lanes": lanes,
    }
    run = runner.begin(Home(home), definition.get("demo").with_values(values))
    drive_options = DriveOptions(data=home, inline=inline, tracking=tracking, idle=True)
    story = runner.drive(run, run.definition(), drive_options, print).story
    ends = sorted(trial.ended for trial in story.trials.values() if trial.ended)
    assert len(ends) == START_UP + TRIALS, f"only {len(ends)} trials ended"
    assert story.driver is not None
    servers = 1 if inline else os.cpu_count() or 1
    return {
        "driver": "inline" if inline else "ray",
        "lanes": lanes,
        "mlflow": tracking or "sqlite",
        "trials_at_once": lanes * servers,
        "first_end_seconds": round(ends[0] - story.driver.time, 2),
        "ms_per_trial": round((ends[-1] - ends[START_UP - 1]) / TRIALS * 1000, 1),
    }


def main() -> None:
    """Measure and print a line for each way to drive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    results = []
    for inline, lanes, tracking in (
        (True, 4, "none"),
        (False, 1, ""),
        (False, 4, "none"),
        (False, 4, ""),
    ):
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(Path(folder), inline=inline, lanes=lanes, tracking=tracking))
        if not as_json:
            print("  ".join(f"{key} {value}" for key, value in results[-1].items()), flush=True)
    worst = max(float(result["ms_per_trial"]) for result in results)
    if as_json:
        print(json.dumps(results, indent=2))
    else:
        verdict = "met" if worst <= LIMIT_MS else "NOT met"
        print(f"limit {LIMIT_MS:.0f} ms per trial: {verdict} (worst {worst:.1f} ms)")


if __name__ == "__main__":
    main()
