"""Have every policy look at a spoof, each with the same challenge."""

from pathlib import Path
from typing import Final

import polarchive as pol
from polarchive.attacks.known import Known
from polarchive.verification import policies
from tests.attacks.scene import judged, reasons

NONCE: Final = bytes(32)
WEIGHTS_ONLY: Final = {"jia2021_full", "jia2021_topq", "relative"}
CHAINED: Final = {"sampled", "strict", "exact"}


def panel(folder: Path, knowing: Known) -> dict[str, pol.Verdict]:
    """Return the verdict of every named policy, by its name."""
    workload, rules = knowing.workload, knowing.rules
    found = {
        "jia2021_full": policies.jia2021_full(rules.delta, 1.0),
        "jia2021_topq": policies.jia2021_topq(rules.top, workload.epoch * workload.batch, rules.delta, 1.0),
        "relative": policies.relative(rules.alpha),
        "sampled": policies.sampled(1),
        "strict": policies.strict(),
        "exact": policies.exact(),
    }
    return {name: judged(folder, workload, policy, nonce=NONCE) for name, policy in found.items()}


def results(verdicts: dict[str, pol.Verdict], result: str) -> set[str]:
    """Return the policies that came to a result."""
    return {name for name, verdict in verdicts.items() if verdict.result == result}


def objections(verdicts: dict[str, pol.Verdict], *names: str) -> set[str]:
    """Return the checks that some of these policies did not pass."""
    return {check for name in names for check in reasons(verdicts[name])}
