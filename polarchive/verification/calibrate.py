"""Calibrate: an honest run in, the limits of honest noise out."""

from collections.abc import Collection, Iterable, Sequence

import torch

from polarchive.format.archive import Archive
from polarchive.training import stack
from polarchive.verification import showing
from polarchive.verification.calibration import Calibration, fit, require_enough, spreads
from polarchive.verification.case import Build, Case
from polarchive.verification.noise import Measurement, Progress, drawn, measure, sources
from polarchive.verification.reference import Reference
from polarchive.verification.showing import Batches


def calibrate(
    archive: Archive,
    build: Build,
    batches: Batches,
    *,
    secret: bytes | None = None,
    device: str = "cpu",
    elsewhere: Iterable[str] = (),
    kinds: Collection[str] = (),
    sample: int = 40,
    tau: float = 0.95,
    margin: float = 3.0,
    runs: Sequence[Archive] = (),
    progress: Progress = lambda done, total: None,
) -> Calibration:
    """Return what honest noise does to the segments of a run, and the limits that follow.

    `sample` segments are replayed as usual and under other numerics: of some `kinds` or of all that this machine can
    vary, and on the devices `elsewhere`, if the steps draw no random numbers there. `tau` is the share of honest
    segments that limits let pass, before they are widened by `margin`. d_ref is measured over `runs`, which are
    independent of one another, or estimated from this one. What else there is to say of arguments, `verify` says.
    PolError if there are too few segments, and what `verify` raises.
    """
    shown = showing.of(archive, batches, secret)
    case = Case.of(archive, build, shown, device)
    others = [Case.of(archive, build, shown, other) for other in elsewhere]
    segments = drawn(archive, sample)
    require_enough(len(segments), archive.header.every, tau)  # before hours are spent
    measured = measure(case, segments, sources(case, kinds, others), progress)
    return calibration(measured, archive, device, tau, margin, Reference.of(runs or [archive]))


def calibration(
    measured: Measurement, archive: Archive, device: str, tau: float, margin: float, d_ref: Reference
) -> Calibration:
    """Return the calibration that follows from what was measured on a run."""
    found = spreads(measured)
    return Calibration(
        run=archive.header.run.hex(),
        stack=stack.describe([torch.device(device)]),
        tau=tau,
        margin=margin,
        tensors={name: count for noise in measured.noises for name, count in noise.counts.items()},
        limits=fit(measured.noises, tau, margin),
        spreads=found,
        d_ref=d_ref,
    )
