"""How files of tests are given to the workers of `make test`."""

from typing import Any

from xdist.scheduler import LoadFileScheduling


class LoadFileOnceScheduling(LoadFileScheduling):
    """`--dist=loadfile`, where a test that ends its worker fails and is not tried again.

    The scheduler of pytest-xdist 3.8 gives such a test to the next worker, and so on without end.
    """

    def remove_node(self, node: Any) -> str | None:
        """As in the base class, and the test that was running counts as done."""
        for tests in self.assigned_work[node].values():
            for name, is_done in tests.items():
                if not is_done:
                    tests[name] = True
                    super().remove_node(node)
                    return name
        return super().remove_node(node)
