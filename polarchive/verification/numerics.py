"""Compute the same steps with other rounding: what honest provers on other machines do to a judge's replay."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from itertools import product, zip_longest
from typing import Any, Final, TypeAlias

import torch

from polarchive.errors import PolError
from polarchive.verification.doubled import Doubled

_MOST_THREADS: Final = 16  # to try where there are fewer cores: sums are split as on a larger machine
_NAMES: Final = {"onednn": "oneDNN", "cudnn": "cuDNN", "tf32": "TF32"}
_OF_ANY: Final = ("threads", "onednn", "deterministic")
_OF_CUDA: Final = ("deterministic", "benchmark", "cudnn", "tf32")
_MOST_WITHOUT: Final = 4  # threads to try without oneDNN, whose stand-ins are slow where threads outnumber cores


def _set_onednn(wanted: bool) -> None:
    torch.backends.mkldnn.enabled = wanted  # type: ignore[assignment]


def _set_benchmark(wanted: bool) -> None:
    torch.backends.cudnn.benchmark = wanted


def _set_cudnn(wanted: bool) -> None:
    torch.backends.cudnn.enabled = wanted


def _set_tf32(wanted: bool | tuple[bool, bool]) -> None:
    matmul, cudnn = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


_Setting: TypeAlias = tuple[Callable[[], Any], Callable[[Any], None]]
_SETTINGS: Final[Mapping[str, _Setting]] = {
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "onednn": (lambda: torch.backends.mkldnn.enabled, _set_onednn),
    "deterministic": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "benchmark": (lambda: torch.backends.cudnn.benchmark, _set_benchmark),
    "cudnn": (lambda: torch.backends.cudnn.enabled, _set_cudnn),
    "tf32": (lambda: (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32), _set_tf32),
}


@dataclass(frozen=True, slots=True)
class Numerics:
    """Say what to compute with; None leaves a setting as it is.

    `float64` takes each operation in double precision and rounds what comes out.
    """

    threads: int | None = None
    onednn: bool | None = None
    deterministic: bool | None = None
    benchmark: bool | None = None
    cudnn: bool | None = None
    tf32: bool | None = None
    float64: bool | None = None

    def __str__(self) -> str:
        words = [_word(kind, self._of(kind)) for kind in KINDS if self._of(kind) is not None]
        return ", ".join(words) or "as usual"

    @property
    def kinds(self) -> frozenset[str]:
        """Return the names of the settings that are changed."""
        return frozenset(kind for kind in KINDS if self._of(kind) is not None)

    @contextmanager
    def within(self) -> Iterator[None]:
        """Compute so for a while, then as before."""
        with ExitStack() as stack:
            for kind, (get, put) in _SETTINGS.items():
                if self._of(kind) is not None:
                    stack.callback(put, get())
                    put(self._of(kind))
            if self.float64:
                stack.enter_context(Doubled())
            yield

    def _of(self, kind: str) -> Any:
        return getattr(self, kind)


KINDS: Final = tuple(field.name for field in fields(Numerics))


def usual(device: str) -> Numerics:
    """Return all that this process computes with now on a device, so that another may compute alike."""
    kinds = _SETTINGS.keys() if device.startswith("cuda") else _OF_ANY
    return Numerics(**{kind: _SETTINGS[kind][0]() for kind in kinds})


def others(device: str) -> tuple[Numerics, ...]:
    """Return what this machine can vary on a device, the usual things first; what it does now is not among them."""
    return _of_cuda() if device.startswith("cuda") else _of_cpu()


def one_by_one(device: str, kinds: Collection[str] = ()) -> tuple[Numerics, ...]:
    """Return what changes one setting each, of some kinds or of all; PolError for a kind that cannot be varied here."""
    own = {1, 2, 4, os.cpu_count() or 1}
    found = [each for each in others(device) if len(each.kinds) == 1 and each.threads in {None, *own}]
    known = frozenset[str]().union(*(each.kinds for each in found))
    if odd := sorted(set(kinds) - known):
        raise PolError(f"{odd[0]} cannot be varied on {device}: {', '.join(sorted(known))} can")
    return tuple(each for each in found if not kinds or each.kinds <= set(kinds))


def _of_cpu() -> tuple[Numerics, ...]:
    """Return counts of threads with oneDNN as it is and otherwise by turns: a few of them are then of either kind."""
    now, other = torch.get_num_threads(), not torch.backends.mkldnn.enabled
    counts = [count for count in range(1, max(_MOST_THREADS, os.cpu_count() or 1) + 1) if count != now]
    alike = [Numerics(threads=count) for count in counts]
    unlike = [Numerics(threads=count, onednn=other) for count in (None, *counts) if (count or 0) <= _MOST_WITHOUT]
    turns = (each for turn in zip_longest(alike, unlike) for each in turn if each is not None)
    deterministic = Numerics(deterministic=not torch.are_deterministic_algorithms_enabled())
    return (*turns, deterministic, Numerics(float64=True))


def _of_cuda() -> tuple[Numerics, ...]:
    """Return all ways to change some settings: those that change few first, and those with another TF32 last."""
    choices = [(None, *_alternatives(kind)) for kind in _OF_CUDA]
    ways = [Numerics(**dict(zip(_OF_CUDA, values, strict=True))) for values in product(*choices)]
    return tuple(sorted(filter(lambda way: way.kinds, ways), key=lambda way: (way.tf32 is not None, len(way.kinds))))


def _alternatives(kind: str) -> tuple[bool, ...]:
    now = _SETTINGS[kind][0]()
    return tuple(value for value in (True, False) if (now != (value, value) if kind == "tf32" else bool(now) != value))


def _word(kind: str, value: int) -> str:
    if kind == "threads":
        return f"{value} thread{'s' * (value != 1)}"
    name = _NAMES.get(kind, kind)
    return name if value else f"without {name}"
