"""Make proofs until a challenge misses what is bad in one of them, and show that one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import ClassVar

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.splice import Splice
from polarchive.format import note
from polarchive.format.archive import open_archive
from polarchive.format.challenge import NONCE_SIZE, derive, draw


@dataclass(frozen=True, slots=True)
class Grinding(Attack):
    """Record a spoof again and again: fresh salts give another last head, and so another challenge.

    Source: found here. Assumes that the judge's nonce is `guess`, and that a challenge draws
    `known.rules.drawn` segments beside the first and the last. Expected: the guessed challenge misses the bad one of n
    others after n / (n − q) tries or so; any other nonce meets it as often as chance does, q/n, however many tries were
    made. Costs a spoof per try.
    """

    needs_leak: ClassVar[bool] = True
    spoof: Splice = Splice()  # noqa: RUF009
    tries: int = 64
    guess: bytes = bytes(NONCE_SIZE)

    def record(self, known: Known, folder: Path, signer: note.Signer, challenge: Sequence[int] | None = None) -> None:
        """Throw proofs away until one escapes; the last is kept in any case, and the first where none can escape."""
        escapable = known.rules.drawn < known.segments - 2
        for number in range(self.tries if escapable else 1):
            for old in ("run", "batches") if number else ():
                rmtree(folder / old)
            self.spoof.record(known, folder, signer, challenge)
            if not self._is_met(known, folder / "run"):
                return

    def _is_met(self, known: Known, run: Path) -> bool:
        """Tell whether the guessed challenge draws the bad segment; places count from the second segment on."""
        with open_archive(run, trusted=None) as archive:
            challenge = derive(archive.heads[-1].text, self.guess)
        others = known.segments - 2
        drawn = draw(challenge, others, min(known.rules.drawn, others), "segments")
        return self.spoof.bad(known) - 1 in drawn
