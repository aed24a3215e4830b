"""Test that counters and batch statistics hide weights from pooled norms only."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from polarchive.attacks.buffers import Counters, Glaring
from polarchive.measures.distance import pool
from polarchive.verification import policies
from polarchive.verification.evidence import Evidence
from polarchive.verification.finding import Outcome
from polarchive.verification.thresholds import Measured
from tests.attacks.scene import ADAM, SGD, distance, final, judged, known, lands, reasons, spoof


@dataclass(frozen=True)
class Naive:
    """Pools every tensor of a part of the state, as a careless judge would."""

    part: str = ""

    def __call__(self, evidence: Evidence) -> Iterator[Measured]:
        own = (each for name, each in evidence.distances.items() if name.startswith(self.part))
        yield Measured(None, pool(own).relative, 0.1)


def test_counters_hide_weights_from_a_norm_of_all_state(tmp_path: Path) -> None:
    knowing = known(ADAM)
    spoof(Counters(), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    naive = judged(tmp_path, ADAM, replace(policies.relative(), threshold=Naive()))
    assert naive.result == "accepted", naive.reasons
    for policy in (policies.relative(), policies.strict()):
        verdict = judged(tmp_path, ADAM, policy)
        assert verdict.result == "rejected" and "replay" in reasons(verdict)
    alone = [finding for each in verdict.judged for finding in each.findings if finding.outcome is Outcome.FAILED]
    assert not any(str(finding.tensor).endswith(("step", "exp_avg", "exp_avg_sq", "tracked")) for finding in alone)


def test_statistics_of_glaring_records_hide_weights_from_a_norm_of_the_model(tmp_path: Path) -> None:
    knowing = known()
    spoof(Glaring(), knowing, tmp_path)
    assert distance(final(tmp_path), knowing.weights) == 0
    naive = judged(tmp_path, SGD, replace(policies.relative(), threshold=Naive("model")))
    assert naive.result == "accepted", naive.reasons
    for policy in (policies.relative(), policies.strict()):
        verdict = judged(tmp_path, SGD, policy)
        assert verdict.result == "rejected" and "replay" in reasons(verdict)
