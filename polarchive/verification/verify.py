"""Judge an archive: check it as a whole, replay the selected segments, and say what was found."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TypedDict, TypeVar, Unpack

from torch import Tensor

from polarchive.errors import PolError
from polarchive.format.archive import Archive
from polarchive.format.challenge import NONCE_SIZE
from polarchive.trust.demands import Seen
from polarchive.trust.trust import Trust
from polarchive.verification import showing
from polarchive.verification.case import Build, Case, States
from polarchive.verification.checks.demands import demands
from polarchive.verification.finding import Finding
from polarchive.verification.judge import Judge
from polarchive.verification.policy import Policy
from polarchive.verification.residual import Way
from polarchive.verification.shelf import Shelf
from polarchive.verification.showing import Batches
from polarchive.verification.site import Given, sites
from polarchive.verification.states import state
from polarchive.verification.tasks import Here, Progress, Run, replays, together
from polarchive.verification.verdict import Verdict
from polarchive.verification.workers import Elsewhere

_Of = TypeVar("_Of")


class Settings(TypedDict, total=False):
    """Say what else a judge brings, of which nothing must be given; `verify` says what each is."""

    trust: Trust | None
    secret: bytes | None
    states: States | None
    device: str
    nonce: bytes | None
    earlier: Iterable[str]
    progress: Progress
    executor: Executor | None
    shelf: Shelf | None


def verify(
    archive: Archive, build: Build, batches: Batches, *, policy: Policy | None = None, **settings: Unpack[Settings]
) -> Verdict:
    """Return the verdict on an open archive.

    `build(header, device)` makes the judge's trainer; `batches(step)` shows the batch of a step as it was recorded (a
    list of them where gradients accumulate), in indexed mode `batches(step, rows)` those rows of the dataset; `secret`
    opens salted commitments. What a prover has sent is shown by `Sent`. `states(index)` shows a state that is not
    stored (None: it is withheld); without it such states are computed again, which on another machine may come out
    otherwise. `nonce` is the judge's 32 random bytes for this run: keep it, so that a retry repeats the challenge, and
    name `earlier` ones in the verdict. `trust` says whose stamps count, which witnesses, and what is demanded of them;
    it does not ask again who signed. `progress` is told the segments done and in all. Workers of an `executor` (`Pool`,
    or any of concurrent.futures and Dask) replay to the same verdict; they must find the archive under its path, and
    import what is given here; the secret travels to them, and code that changes meanwhile is theirs to reload. `device`
    may then name several, as `cuda:0,cuda:1`. What a `shelf` keeps of an earlier attempt is not replayed again. Raises
    FormatError if the archive turns out broken, PolError if workers are lost, and what the judge's own code raises.
    """
    (verdict,) = verify_all(archive, build, batches, policies=[policy or Policy()], **settings)
    return verdict


def verify_all(
    archive: Archive,
    build: Build,
    batches: Batches,
    *,
    policies: Sequence[Policy],
    trust: Trust | None = None,
    secret: bytes | None = None,
    states: States | None = None,
    device: str = "cpu",
    nonce: bytes | None = None,
    earlier: Iterable[str] = (),
    progress: Progress = lambda done, total: None,
    executor: Executor | None = None,
    shelf: Shelf | None = None,
) -> tuple[Verdict, ...]:
    """Return the verdict of each policy on an open archive; what several of them ask for is done once.

    All draw from one nonce. Else this is `verify`.
    """
    devices = device.split(",")
    case = Case.of(archive, build, showing.of(archive, batches, secret), devices[0], states)
    seen = Seen.of(archive, trust) if trust else None
    known = demands(seen) if seen else []
    of_archive = _asked(archive, [policy.of_archive for policy in policies])
    of_case = _asked(case, [policy.of_case for policy in policies])
    found = [[*one, *known, *other] for one, other in zip(of_archive, of_case, strict=True)]
    nonce, earlier = nonce or secrets.token_bytes(NONCE_SIZE), tuple(earlier)
    way = Way.of(archive, case.device)
    judges = [Judge(case, policy, nonce, way) for policy in policies]
    asked = together(task for judge in judges for task in judge.tasks)
    with _run(case, way, Given(build, batches, secret, states), devices, executor) as run:
        for done in replays(shelf.beside(run, case) if shelf else run, asked, progress):
            for judge in judges:
                judge.hear(done)
    return tuple(judge.verdict(each, earlier, seen) for judge, each in zip(judges, found, strict=True))


@contextmanager
def _run(case: Case, way: Way, given: Given, devices: Sequence[str], executor: Executor | None) -> Iterator[Run]:
    """Give what does tasks: this process, or an executor."""
    if executor is not None:
        with Elsewhere(executor, sites(case.archive, given, devices)) as run:
            yield run
    elif len(devices) > 1:
        raise PolError(f"several devices need workers, and there is no executor: {', '.join(devices)}")
    else:
        yield Here(case, way)


def _asked(subject: _Of, checks: Sequence[Sequence[Callable[[_Of], Iterator[Finding]]]]) -> list[list[Finding]]:
    """Return what each list of checks finds; a check that is in several is made once."""
    made: list[tuple[object, list[Finding]]] = []
    for check in (check for each in checks for check in each):
        if all(check != other for other, _ in made):
            made.append((check, list(check(subject))))
    return [
        [finding for check in each for other, found in made if other == check for finding in found] for each in checks
    ]


def regenerate(
    archive: Archive,
    build: Build,
    batches: Batches,
    index: int,
    *,
    secret: bytes | None = None,
    device: str = "cpu",
) -> dict[str, Tensor]:
    """Return state `index`, which is committed by its root only, by training on from the last stored one before it.

    This is how a prover shows it to a judge who asks. OpeningError if it comes out otherwise: rounding differs on
    another machine, or with another number of threads.
    """
    return state(Case.of(archive, build, showing.of(archive, batches, secret), device), index)
