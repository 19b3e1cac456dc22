"""A language model whose learning rate rises over the first updates."""

from zoneout_core.training.lane import Lane
from zoneout_core.training.workloads.language import Language

WARM_UPDATES = 10


class WarmLanguage(Language):
    """The rate depends on the lane's own configuration and update, so lanes stay independent."""

    def learning_rate(self, lane: Lane) -> float:
        """Of the lane's coming update."""
        return super().learning_rate(lane) * min(1.0, (lane.updates + 1) / WARM_UPDATES)


WORKLOAD = WarmLanguage
