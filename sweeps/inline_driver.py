"""Drive a sweep in this one process, without Ray: for debugging, notebooks, and machines that have only torch."""

from collections.abc import Callable

from sweeps.lane_server import ServerOptions, build_server
from sweeps.ledger import Ledger


def drive(ledger: Ledger, options: ServerOptions, concurrency: int, stop: Callable[[], bool]) -> None:
    """Run trials until there are no more or `stop()` is true, asked after every update."""
    server = build_server(options)
    exhausted = False
    while not stop():
        while not exhausted and len(server.trials) < concurrency:
            assignment = ledger.ask()
            if assignment is None:
                exhausted = True
            else:
                server.submit(assignment.trial, assignment.config.to_json())
        if exhausted and not server.trials:
            return
        server.advance()
        for trial in server.trials:
            for event in server.next(trial) or ():
                if ledger.take(event) or event["event"] == "end":
                    server.release(trial)
