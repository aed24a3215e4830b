"""Publish a victim's proof, and hear it in disputes with spoofs that were made of it."""

from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import polarchive as pol
from polarchive.attacks.attack import forge
from polarchive.attacks.honest import Honest
from polarchive.attacks.known import Known, Leak
from polarchive.attacks.workload import Workload
from polarchive.measures.symmetry import Group
from polarchive.training.kept import kept
from polarchive.verification.dispute.claim import Claim, Report
from polarchive.verification.dispute.decision import Decision, decide
from polarchive.verification.dispute.facts import Facts
from tests import disputes
from tests.attacks import scene
from tests.attacks.scene import VICTIM, known
from tests.authority import Authority
from tests.simulator import PROVER

# Contiguous, as batches are when they are shown: other strides may round otherwise.
RECORDS: Final = tuple(part.contiguous() for part in scene.SGD.records)
SGD, ADAM = (replace(workload, records=RECORDS) for workload in (scene.SGD, scene.ADAM))
GROUPS: Final = tuple(disputes.symmetries(None))
EARLY, LATE = 0.0, 100.0  # hours at which a log is first stamped


def published(folder: Path, workload: Workload = SGD) -> Leak:
    """Record the victim's own run in `folder`, and return what leaks of it."""
    forge(Honest(), replace(known(workload), seed=VICTIM), folder, PROVER)
    pol.pack(folder / "run", folder / "run.pol")
    return Leak(folder / "run.pol", partial(kept, folder / "batches"))


def leaking(leak: Leak, workload: Workload = SGD, **rules: Any) -> Known:
    """Return what an adversary knows to whom the victim's proof has leaked."""
    return known(workload, leak, **rules)


@dataclass(frozen=True)
class Court:
    """Hear a victim and a spoof, in folders that each hold a run and its batches; the judge replays both."""

    folder: Path
    victim: Path
    spoof: Path

    def hear(
        self, victim_at: float | None, spoof_at: float | None, authority: Authority = disputes.AUTHORITY
    ) -> Decision:
        """Return the decision, whoever comes first, on logs that were stamped from these hours on, or not at all.

        `authority` has stamped the spoof.
        """
        victim = self._claim("victim", self.victim, victim_at, disputes.AUTHORITY)
        spoof = self._claim("spoof", self.spoof, spoof_at, authority)
        found = [_decided(victim, spoof), _decided(spoof, victim)]
        assert len({(each.outcome, each.favours, each.by_date) for each in found}) == 1
        return found[0]

    def _claim(self, name: str, side: Path, at: float | None, authority: Authority) -> Claim:
        archive = self._sealed(name, side, at, authority)
        with pol.open(archive, trusted=disputes.trust().keys) as opened:
            assert opened.digest is not None
            told = replace(replayed(side), archive=opened.digest.hex())
        return Claim.of(name, archive, disputes.trust(), [told])

    def _sealed(self, name: str, side: Path, at: float | None, authority: Authority) -> Path:
        """Seal a run, its heads stamped an hour after each other: the first two and the last."""
        self.folder.mkdir(exist_ok=True)
        with pol.open(side / "run", trusted=None) as run:
            sizes = (1, 2, run.heads[-1].size)
        hours = {} if at is None else {size: at + later for later, size in enumerate(sizes)}
        return disputes.sealed(side / "run", self.folder / f"{name}.pol", hours, authority)


@cache
def replayed(side: Path) -> Report:
    """Return the judge's report on a run directory, once: stamps are attached to archives of it, and change none."""
    secret, batches = pol.read_secret(side / "run" / "secret"), partial(kept, side / "batches")
    with pol.open(side / "run", trusted=disputes.trust().keys) as opened:
        verdict = pol.verify(opened, SGD.build, batches, secret=secret)
    residuals = [each.residual for each in verdict.judged]
    return Report("", verdict.result, len(residuals), verdict.segments, max(residuals))


def _decided(a: Claim, b: Claim) -> Decision:
    return decide(a, b, Facts.of(a, b, _symmetries, None))


def _symmetries(header: object) -> list[Group]:
    return list(GROUPS)
