"""Hold the catalogue of test vectors: one decorated function each, whose docstring says what the vector is."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from polarchive.errors import Reason

OK = "ok"
Made: TypeAlias = bytes | tuple[bytes, Mapping[str, object]]
Make: TypeAlias = Callable[[], Made]


@dataclass(frozen=True, slots=True)
class Vector:
    """Hold one vector: what it is, what a reader must say of it, parameters of its kind, and the bytes."""

    name: str
    kind: str
    what: str
    expect: str
    spec: str
    parameters: Mapping[str, str]
    body: bytes

    @classmethod
    def decode(cls, data: bytes) -> "Vector":
        """Read the file of a vector."""
        head, _, body = data.partition(b"\n\n")
        found = dict(line.split(": ", 1) for line in head.decode("ascii").split("\n"))
        first = {key: found.pop(key) for key in ("name", "kind", "what", "expect", "spec")}
        return cls(**first, parameters=found, body=body)

    def encode(self) -> bytes:
        """Return the file of this vector: lines of text, an empty line, the bytes."""
        first = {"name": self.name, "kind": self.kind, "what": self.what, "expect": self.expect, "spec": self.spec}
        lines = [f"{key}: {value}\n" for key, value in {**first, **self.parameters}.items()]
        return "".join(lines).encode("ascii") + b"\n" + self.body


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan one vector; a `large` one is made where it is tested and never committed."""

    name: str
    kind: str
    what: str
    expect: str
    spec: str
    parameters: Mapping[str, str]
    large: bool
    make: Make

    def vector(self) -> Vector:
        """Make the vector."""
        made = self.make()
        body, more = made if isinstance(made, tuple) else (made, {})
        parameters = {**self.parameters, **{key: str(value) for key, value in more.items()}}
        return Vector(self.name, self.kind, self.what, self.expect, self.spec, parameters, body)


PLANS: dict[str, Plan] = {}


def vector(
    kind: str, expect: str | Reason, spec: str, *, large: bool = False, **parameters: str
) -> Callable[[Make], Make]:
    """Enter the decorated function into the catalogue; it returns bytes, or bytes and further parameters.

    `spec` is the heading in SPEC.md under which the rule stands.
    """

    def enter(make: Make) -> Make:
        name = f"{kind}-{make.__name__.strip('_').replace('_', '-')}"
        assert name not in PLANS, f"{name} is in the catalogue already"
        what = " ".join((make.__doc__ or "").split())
        assert what.endswith("."), f"{name} does not say in a sentence what it is"
        PLANS[name] = Plan(name, kind, what, str(expect), spec, parameters, large, make)
        return make

    return enter


def good(spec: str, *, large: bool = False) -> Callable[[Make], Make]:
    """Enter an archive that every reader accepts."""
    return vector("archive", OK, spec, large=large)


def opened(reason: Reason, spec: str, *, large: bool = False) -> Callable[[Make], Make]:
    """Enter an archive that is refused when it is opened."""
    return vector("archive", reason, spec, large=large, by="open")


def sealed(reason: Reason, spec: str, *, large: bool = False) -> Callable[[Make], Make]:
    """Enter an archive that opens, and is refused when all its bytes are checked."""
    return vector("archive", reason, spec, large=large, by="seal")


def vectors(*, large: bool = False) -> Iterator[Vector]:
    """Make all vectors that are committed, or all that are not."""
    return (plan.vector() for plan in PLANS.values() if plan.large == large)
