"""Do what commands of a judge have in common: remember nonces, ask, and take what was answered."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from polarchive.errors import PolError
from polarchive.exchange.ledger import Earlier, Ledger
from polarchive.exchange.sealed import SUFFIX, unsealed
from polarchive.format import request
from polarchive.format.answer import Answers
from polarchive.format.archive import Archive
from polarchive.format.note import Signer
from polarchive.format.part import BatchPart, Part, StatePart
from polarchive.format.request import Request
from polarchive.trust.keys import KeySigner

if TYPE_CHECKING:
    from polarchive.verification.plan import Plan
    from polarchive.verification.policy import Policy
    from polarchive.verification.showing import Sent

HOURS = 168
_POLICY: Final = (
    click.option("--policy", default="strict", show_default=True, help="strict, exact, sampled …, or a TOML file."),
    click.option(
        "--calibration",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="What polarc calibrate found: its limits take the place of the policy's.",
    ),
    click.option("--select", help="Instead of the policy's: every, sample:N, top:Q, top:Q+N, epoch:RECORDS:N."),
)
ledger_option: Callable[..., Any] = click.option(
    "--ledger", type=click.Path(file_okay=False, path_type=Path), help="Your memory of challenges, a folder."
)


def policy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say by which policy an archive is judged."""
    for option in reversed(_POLICY):
        command = option(command)
    return command


def chosen(policy: str, select: str | None, calibration: Path | None) -> "Policy":
    """Return the policy of this name or file, with other limits and another selection if they are given."""
    from polarchive.verification import calibrationfile, policies, policyfile
    from polarchive.verification.selecting import selection

    found = policyfile.named(policy)
    if calibration:
        found = policies.calibrated(found, calibrationfile.load(calibration))
    return replace(found, selection=selection(select)) if select else found


def opened(folder: Path | None) -> Ledger:
    """Open the judge's ledger, in the usual place for what programs remember if none is named."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return Ledger(folder or home / "polarchive")


def ask(archive: Archive, policy: "Policy", signer: Signer, ledger: Ledger, expires: int) -> tuple[bytes, "Plan"]:
    """Return the signed request for what the judge's challenge draws, and the plan it follows."""
    from polarchive.verification.plan import Plan
    from polarchive.verification.policy import name_of

    header, head = archive.header, archive.heads[-1]
    nonce = ledger.nonce(header.run, head)
    plan = Plan.of(archive, policy, nonce)
    asked = Request(
        run=header.run,
        head=head,
        nonce=nonce,
        selection=name_of(policy.selection),
        segments=tuple(plan.segments),
        states=tuple(plan.states),
        key=signer.key,
        issued=int(time.time()),
        expires=expires,
    )
    return request.sign(asked, signer), plan


@contextmanager
def answered(
    archive: Archive, path: Path, policy: "Policy", ledger: Ledger, signer: KeySigner | None, travels: bool = False
) -> Iterator[tuple[Any, Any, bytes]]:
    """Open an answer; give what shows its batches, what shows its states, and the nonce it answers.

    What `travels` to workers opens the answer there.

    PolError if it answers another challenge than the judge's own: whoever chose that may have liked it.
    """
    from polarchive.cli.travelling import Answered
    from polarchive.training.arrays import to_tensors
    from polarchive.verification.plan import Plan
    from polarchive.verification.showing import Sent

    head = archive.heads[-1]
    nonce = ledger.nonce(archive.header.run, head)
    with _plain(path, signer) as plain, Answers.open(plain, archive.header.key) as answers:
        if (answers.request.head, answers.request.nonce) != (head, nonce):
            raise PolError(f"{path}: answers another challenge than the one in your ledger (polarc challenge makes it)")
        if list(answers.request.segments) != Plan.of(archive, policy, nonce).segments:
            raise PolError(f"{path}: answers for other segments; give --select as for polarc challenge")
        if travels:
            shown = Answered(plain.resolve(), archive.header.key, answers.digest)
            yield shown, shown.state, nonce
        else:
            yield Sent(answers.batch), lambda index: to_tensors(answers.state(index)), nonce


@contextmanager
def _plain(path: Path, signer: KeySigner | None) -> Iterator[Path]:
    if path.suffix != SUFFIX:
        yield path
    elif signer is None:
        raise click.UsageError(f"{path} is encrypted to you: --as gives the key to read it with")
    else:
        with unsealed(path, signer) as plain:
            yield plain


@contextmanager
def served(
    archive: Archive, url: str, policy: "Policy", ledger: Ledger, signer: Signer, resume: bool, patience: float
) -> Iterator[tuple["Sent", Any, bytes]]:
    """Connect to a prover's server; give what shows its batches and states, and the judge's nonce.

    What was fetched is kept until the request expires: a verification that was broken off asks for nothing again.
    """
    from polarchive.exchange.client import Channel
    from polarchive.training.arrays import to_tensors
    from polarchive.verification.showing import Sent

    head, run = archive.heads[-1], archive.header.run
    folder = ledger.folder(run, head)
    document, plan = ask(archive, policy, signer, ledger, int(time.time()) + 3600 * HOURS)
    kept = _unfinished(folder, document)
    if resume and kept is None:
        raise PolError(f"{folder}: no unexpired request about this head was left there: nothing to resume")
    document = kept or document
    place = folder / request.digest(document).hex()[:16]
    with Channel(url, signer, archive.header.key, document, place, patience=patience) as channel:
        sent = Sent(channel.batch, lambda segment: channel.prefetch(_parts(archive, segment, plan.states)))
        yield sent, lambda index: to_tensors(channel.state(index)), ledger.nonce(run, head)


def earlier(archive: Archive, ledger: Ledger) -> list[str]:
    """Return in words the judge's challenges about other heads of the run."""
    return [_told(each) for each in ledger.earlier(archive.header.run, archive.heads[-1])]


def _told(each: Earlier) -> str:
    return f"challenge about the head of size {each.head.size}: {each.verdict or 'never finished'}"


def _parts(archive: Archive, segment: Any, states: list[int]) -> Iterator[Part]:
    for step in range(segment.first, segment.first + segment.steps):
        yield from (BatchPart(step, micro) for micro in range(archive.header.micro))
    yield from (StatePart(index) for index in (segment.index, segment.index + 1) if index in states)


def _unfinished(folder: Path, document: bytes) -> bytes | None:
    """Return a request in the folder that asks the same and has not expired."""
    wanted = request.open_request(document)
    for path in sorted(folder.glob("*/request.json")):
        found = request.open_request(path.read_bytes())
        if found.substance == wanted.substance and found.expires > time.time():
            return path.read_bytes()
    return None
