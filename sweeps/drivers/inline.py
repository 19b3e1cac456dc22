"""Drive a sweep in this one process, without Ray: for debugging, notebooks, and machines that have
only torch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sweeps.books.events import EndEvent
from sweeps.books.ledger import Ledger
from sweeps.serving.lane_server import LaneServer, ServerOptions, build_server


def drive(
    ledger: Ledger, options: ServerOptions, concurrency: int, stop: Callable[[], bool]
) -> None:
    """Run trials until there are no more or `stop()` is true, asked after every update."""
    with _training_thread(options) as run:
        _drive(ledger, run(build_server, options), concurrency, stop, run)


def _drive(
    ledger: Ledger,
    server: LaneServer,
    concurrency: int,
    stop: Callable[[], bool],
    run: Callable[..., Any],
) -> None:
    exhausted = False
    while not stop():
        while not exhausted and len(server.trials) < concurrency:
            assignment = ledger.ask()
            if assignment is None:
                exhausted = True
            else:
                server.submit(assignment.trial, assignment.config)
        if exhausted and not server.trials:
            return
        run(server.advance)
        for trial in server.trials:
            for event in server.next(trial) or ():
                if ledger.take(event) or isinstance(event, EndEvent):
                    server.release(trial)


@contextmanager
def _training_thread(options: ServerOptions) -> Iterator[Callable[..., Any]]:
    """What calls a function in a thread that flushes subnormal numbers; our caller's keeps its
    state."""
    if options.idle:
        yield lambda work, *arguments: work(*arguments)
        return
    from zoneout_core.training.subnormals import (
        TrainingThread,  # torch, which an idle run does not need
    )

    with TrainingThread() as thread:
        yield thread.run
