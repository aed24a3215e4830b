"""Record a training run as a transparency log, and let anyone judge it by replay.

Record, with one added line, first in the loop's body:

    import polarchive as pol

    trainer = pol.TorchTrainer(model=model, optimizer=optimizer)
    with pol.Writer("run", trainer, every=100, signer=pol.load_signer("me.key"), seed=0) as log:
        for batch in loader:
            log.record(batch)
            ...  # the loop as it was

Seal, open and judge:

    pol.pack("run", "run.pol")
    with pol.open("run.pol", trusted=[pol.load_verifier("me.pub")]) as archive:
        verdict = pol.verify(archive, build, batches, secret=pol.read_secret("run/secret"))
    print(verdict.result)

`build(header, device)` is the judge's own code and returns a `TorchTrainer(step, model=…, optimizer=…)`;
`batches(step)` returns the batch of a step. SPEC.md says what the bytes mean, README.md what a verdict means.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from polarchive.errors import FormatError, OpeningError, PolError, TrainerError, TrustError

if TYPE_CHECKING:
    from polarchive import attacks
    from polarchive.exchange.stamps import StampClient
    from polarchive.format.archive import Archive, pack
    from polarchive.format.archive import open_archive as open
    from polarchive.format.entry import Header, Hyper
    from polarchive.format.schema import Schema
    from polarchive.recording.dataset import Dataset
    from polarchive.training.arrays import to_tensors
    from polarchive.training.datasets import commit_dataset
    from polarchive.training.graphed import Graphed
    from polarchive.training.trainer import TorchTrainer, Trainer
    from polarchive.training.writer import Writer
    from polarchive.trust.keys import load_signer, load_verifier, read_secret
    from polarchive.verification import policies
    from polarchive.verification.finding import Finding, Outcome
    from polarchive.verification.policy import Policy
    from polarchive.verification.pool import Pool
    from polarchive.verification.selections import Sample, every
    from polarchive.verification.shelf import Shelf
    from polarchive.verification.thresholds import Fixed, Lp, Relative
    from polarchive.verification.verdict import Verdict
    from polarchive.verification.verify import regenerate, verify, verify_all

__version__ = "0.1.0"
# Loaded on first use, so that whoever only looks at an archive never waits for torch.
_WHERE = {
    "Archive": "format.archive",
    "Dataset": "recording.dataset",
    "Finding": "verification.finding",
    "Fixed": "verification.thresholds",
    "Graphed": "training.graphed",
    "Header": "format.entry",
    "Hyper": "format.entry",
    "Lp": "verification.thresholds",
    "Outcome": "verification.finding",
    "Policy": "verification.policy",
    "Pool": "verification.pool",
    "Relative": "verification.thresholds",
    "Sample": "verification.selections",
    "Schema": "format.schema",
    "Shelf": "verification.shelf",
    "StampClient": "exchange.stamps",
    "TorchTrainer": "training.trainer",
    "Trainer": "training.trainer",
    "Verdict": "verification.verdict",
    "Writer": "training.writer",
    "commit_dataset": "training.datasets",
    "every": "verification.selections",
    "load_signer": "trust.keys",
    "load_verifier": "trust.keys",
    "open": "format.archive",
    "pack": "format.archive",
    "read_secret": "trust.keys",
    "regenerate": "verification.verify",
    "to_tensors": "training.arrays",
    "verify": "verification.verify",
    "verify_all": "verification.verify",
}
_RENAMED = {"open": "open_archive"}
_MODULES = {"attacks": "attacks", "policies": "verification.policies"}
__all__ = [
    "Archive",
    "Dataset",
    "Finding",
    "Fixed",
    "FormatError",
    "Graphed",
    "Header",
    "Hyper",
    "Lp",
    "OpeningError",
    "Outcome",
    "PolError",
    "Policy",
    "Pool",
    "Relative",
    "Sample",
    "Schema",
    "Shelf",
    "StampClient",
    "TorchTrainer",
    "Trainer",
    "TrainerError",
    "TrustError",
    "Verdict",
    "Writer",
    "attacks",
    "commit_dataset",
    "every",
    "load_signer",
    "load_verifier",
    "open",
    "pack",
    "policies",
    "read_secret",
    "regenerate",
    "to_tensors",
    "verify",
    "verify_all",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE and name not in _MODULES:
        raise AttributeError(f"module 'polarchive' has no attribute {name!r}")
    module = import_module(f"polarchive.{_MODULES.get(name) or _WHERE[name]}")
    value = module if name in _MODULES else getattr(module, _RENAMED.get(name, name))
    globals()[name] = value
    return value
