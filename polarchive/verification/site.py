"""Replay in other processes: each opens the archive itself and builds its own trainer, once."""

import threading
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pickle import dumps, loads
from secrets import token_bytes
from typing import Final

from polarchive.errors import PolError
from polarchive.format.archive import Archive, open_archive
from polarchive.format.note import VerifierKey
from polarchive.verification import showing
from polarchive.verification.case import Build, Case, States
from polarchive.verification.numerics import Numerics, usual
from polarchive.verification.residual import Way
from polarchive.verification.showing import Batches
from polarchive.verification.tasks import Done, Task, perform


@dataclass(frozen=True, slots=True)
class Given:
    """Hold what a judge brings to an archive, as `verify` takes it."""

    build: Build
    batches: Batches
    secret: bytes | None
    states: States | None


@dataclass(frozen=True, slots=True)
class Site:
    """Say what a worker needs to replay as its sender would: where the archive is, the judge's code, the settings.

    `name` is unique to a verification, `head` what the archive's last note says. With `given` goes the run's secret, so
    what carries it must be closed to others.
    """

    name: bytes
    path: str
    key: VerifierKey
    head: bytes
    given: Given
    device: str
    numerics: Numerics

    def open(self) -> "Desk":
        """Open the archive and build the trainer; PolError if another archive is there."""
        archive = open_archive(self.path, trusted=[self.key])
        if archive.heads[-1].text != self.head:
            archive.close()
            raise PolError(f"{self.path}: another archive than the one to verify lies there for a worker")
        given, device = self.given, self.device
        shown = showing.of(archive, given.batches, given.secret)
        case = Case.of(archive, given.build, shown, device, given.states)
        return Desk(case, Way.of(archive, self.device))


def sites(archive: Archive, given: Given, devices: Iterable[str]) -> list[Site]:
    """Return where an open archive may be replayed as it would be here: a site for each device."""
    name, path, head = token_bytes(16), str(archive.path.resolve()), archive.heads[-1].text
    return [Site(name, path, archive.header.key, head, given, device, usual(device)) for device in devices]


@dataclass(slots=True)
class Desk:
    """Hold what a worker has at hand between tasks, and the segment that its trainer stands at the end of."""

    case: Case
    way: Way
    at: int | None = None

    def perform(self, task: Task) -> Done:
        """Do a task; a trainer that comes from the segment before is built anew: undeclared state is not carried on."""
        if self.at == task.index:
            self.case = self.case.anew()
        self.at = task.index + task.in_a_row
        return perform(self.case, self.way, task)


_TURN: Final = threading.Lock()  # torch draws all random numbers of a process from the same generators
_DESKS: Final[dict[bytes, Desk]] = {}


def work(site: Site, task: Task) -> Done:
    """Do one task in this process, where threads take turns; what it raises can travel to another process."""
    try:
        with _TURN, site.numerics.within():
            return _desk(site).perform(task)
    except BaseException as error:
        raise _portable(error) from None


def leave(name: bytes) -> None:
    """Close what this process had open for a verification."""
    with _TURN:
        for own in [own for own in _DESKS if own.startswith(name)]:
            _DESKS.pop(own).case.archive.close()


def _desk(site: Site) -> Desk:
    key = site.name + site.device.encode()
    if key not in _DESKS:
        for old in [old for old in _DESKS if not old.startswith(site.name)]:
            _DESKS.pop(old).case.archive.close()
        _DESKS[key] = site.open()
    return _DESKS[key]


def _portable(error: BaseException) -> BaseException:
    """Return an error that can be pickled, with its frames as `frames`: module, file and line of each."""
    frames = [
        (str(frame.f_globals.get("__name__")), frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    try:
        found: BaseException = loads(dumps(error))
    except Exception:
        found = RuntimeError(f"{type(error).__name__}: {error}")
    found.__dict__["frames"] = frames
    return found
