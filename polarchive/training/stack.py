"""Describe the software and hardware a run is recorded or replayed on: informative, never trusted."""

import platform
from collections.abc import Iterable

import numpy as np
import torch


def describe(devices: Iterable[torch.device]) -> dict[str, str]:
    """Return what may change the last bits of a step, as short texts."""
    facts = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "onednn": str(torch.backends.mkldnn.enabled),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
    }
    for device in devices:
        if device.type == "cuda":
            facts |= _cuda(device)
    return {
        name: "".join(filter(str.isprintable, text.encode("ascii", "replace").decode())) for name, text in facts.items()
    }


def _cuda(device: torch.device) -> dict[str, str]:
    return {
        "gpu": torch.cuda.get_device_name(device),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "cudnn.benchmark": str(torch.backends.cudnn.benchmark),
        "tf32": f"{torch.backends.cuda.matmul.allow_tf32} {torch.backends.cudnn.allow_tf32}",
    }
