"""Set the scene of a contest: a victim that trained honestly, what its adversaries know, and who judges."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch.utils.flop_counter import FlopCounterMode

from polarchive.attacks.attack import write
from polarchive.attacks.honest import Honest
from polarchive.attacks.known import Known, Leak, Rules
from polarchive.attacks.puppet import Puppet, of_model
from polarchive.attacks.workload import Workload
from polarchive.contest.place import claim
from polarchive.contest.records import digests
from polarchive.exchange import late
from polarchive.exchange.stamps import StampClient
from polarchive.format.archive import Archive, open_archive, pack
from polarchive.format.note import VerifierKey
from polarchive.training.arrays import to_tensors
from polarchive.training.kept import kept
from polarchive.training.trainer import State
from polarchive.trust.keys import KeySigner, named
from polarchive.verification.reference import Reference

VICTIM: Final = "victim.example"
ADVERSARY: Final = "adversary.example"
FRACTION: Final = 0.008  # of d_ref: the δ of Fang et al., section VI-A
_STAMPS: Final = 8  # of the victim's heads, about, while it trains
_SEEDS: Final = {"victim": 7, "independent": 8}


@dataclass(frozen=True)
class Arena:
    """Hold where a contest takes place: its folder, the training, what the judge allows, and an authority if any."""

    folder: Path
    workload: Workload
    fraction: float = FRACTION
    top: int = 5
    drawn: int = 20
    seed: int = 1
    authority: StampClient | None = None

    @property
    def victim(self) -> Path:
        """Return where the victim's run is."""
        return self.folder / "victim"

    def prepare(self) -> None:
        """Train the victim, and once more independently, unless that was done; have the victim's proof stamped.

        PolError if the folder is another contest's, or holds what none has made.
        """
        claim(self.folder, self.workload)
        for name, seed in _SEEDS.items():
            made = self.folder / name
            if not (made / "run.pol").exists():
                trained = Known({}, self.workload, Rules(0.0), seed)
                write(Honest(), trained, emptied(made), signer(VICTIM), stamps=self._meanwhile)
                self.seal(made)

    @property
    def _meanwhile(self) -> StampClient | None:
        """Return what stamps a run as it grows: a log that appears all at once may have been taken whole."""
        often = max(self.workload.segments // _STAMPS, 1)
        return replace(self.authority, every=often) if self.authority else None

    def seal(self, made: Path) -> None:
        """Pack a run, and have it stamped if there is an authority."""
        unsealed = made / "unsealed.pol"
        pack(made / "run", unsealed)
        if self.authority:
            added = late.add(unsealed, self.authority)
            if added.failures:
                raise added.failures[0]
        unsealed.rename(made / "run.pol")

    @cached_property
    def reference(self) -> Reference:
        """Return d_ref: how far independent runs of this length end from each other."""
        with self.open("victim") as one, self.open("independent") as other:
            return Reference.of([one, other])

    @cached_property
    def known(self) -> Known:
        """Return what adversaries know; what was leaked too, of which most attacks make no use."""
        leak = Leak(self.victim / "run.pol", partial(kept, self.victim / "batches"))
        rules = Rules(self.fraction * self.reference.mean, top=self.top, drawn=self.drawn)
        return Known(self.weights, self.workload, rules, self.seed, leak)

    @cached_property
    def weights(self) -> State:
        """Return the victim's last weights and buffers, which were stolen."""
        with self.open("victim") as archive:
            return of_model(to_tensors(archive.state(-1)))

    @cached_property
    def forward(self) -> int:
        """Return the floating-point operations of a forward pass of one batch."""
        trainer = Puppet(self.workload)
        with FlopCounterMode(display=False) as counted:
            trainer.loss(self.known.batch(0))
        total: int = counted.get_total_flops()
        return total

    @cached_property
    def genuine(self) -> frozenset[bytes]:
        """Return the digests of all public records."""
        return frozenset(digests(self.workload.records))

    @contextmanager
    def open(self, name: str) -> Iterator[Archive]:
        """Open the run of the victim, or the independent one."""
        with open_archive(self.folder / name / "run.pol", trusted=[key(VICTIM)]) as archive:
            yield archive


def emptied(folder: Path) -> Path:
    """Return a folder with nothing in it: what was begun and not finished is begun anew."""
    rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def signer(name: str) -> KeySigner:
    """Return the key of a party, the same in every contest: nothing but the contest is signed with it."""
    private = Ed25519PrivateKey.from_private_bytes(sha256(f"contest/{name}".encode()).digest())
    return KeySigner(named(name, private.public_key().public_bytes_raw()), private)


def key(name: str) -> VerifierKey:
    """Return a party's public key."""
    return signer(name).key
