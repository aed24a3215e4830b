"""Tell from its name what a tensor of a model is."""

from typing import Final

_STATISTICS: Final = ("running_mean", "running_var", "num_batches_tracked")


def is_statistic(name: str) -> bool:
    """Tell whether batch norm takes a tensor from its batches: it is no weight, and would lend its room to them."""
    return name.rpartition(".")[2] in _STATISTICS
