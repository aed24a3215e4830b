"""Read a judge's trust file: TOML, in which a key that is not known is an error (examples/trust.toml)."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography.x509 import Certificate, load_pem_x509_certificates

from polarchive.errors import PolError
from polarchive.format.cosignature import WitnessKey
from polarchive.format.note import VerifierKey
from polarchive.trust.trust import ASSUMED, Authority, Limits, Require, Trust

T = TypeVar("T")
_MOST: Final = 1 << 20  # bytes of a trust file, or of a file it names
_TOP: Final = ("keys", "authorities", "stamps", "witnesses", "limits")
_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class _Table:
    """Read one table of a trust file, each value once; errors name file, table and key."""

    file: Path
    name: str
    values: Mapping[str, Any]

    def only(self, *known: str) -> "_Table":
        """Refuse every key but those known."""
        odd = sorted(self.values.keys() - set(known))
        if odd:
            raise self.error(odd[0], f"is no key here; known are {', '.join(known)}")
        return self

    def error(self, key: str, message: str) -> PolError:
        """Return the error that says where what is wrong."""
        where = f"[{self.name}] " if self.name else ""
        return PolError(f"{self.file}: {where}{key} {message}")

    def get(self, key: str, kind: type[T] | tuple[type[T], ...], default: T, says: str) -> T:
        """Return a value of this kind; what is true or false is no number."""
        value = self.values.get(key, default)
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if value is not default and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise self.error(key, f"is not {says}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings, or one that stands alone."""
        value: Any = self.values.get(key, [])
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise self.error(key, "is not a string or a list of strings")
        return tuple(texts)

    def count(self, key: str, default: int) -> int:
        """Return a number of authorities or witnesses."""
        value = self.get(key, int, default, "a whole number")
        if value < 0:
            raise self.error(key, "is below 0")
        return value

    def amount(self, key: str) -> float | None:
        """Return a number above 0, None if it is not given."""
        value: float | None = self.get(key, (int, float), None, "a number")
        if value is not None and not 0 < value < float("inf"):
            raise self.error(key, "is not a number above 0")
        return value

    def span(self, key: str, unit: float = 1.0) -> timedelta | None:
        """Return a time given in units of so many seconds, None if it is not given."""
        value = self.amount(key)
        try:
            return None if value is None else timedelta(seconds=value * unit)
        except OverflowError:
            raise self.error(key, "is too long a time") from None

    def table(self, key: str) -> "_Table":
        """Return a table in this one, empty if it is not given."""
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, "is not a table")
        return _Table(self.file, f"{self.name}.{key}".strip("."), value)


def load(path: str | Path, keys: tuple[VerifierKey, ...] = ()) -> Trust:
    """Return what the trust file at `path` says, and `keys` trusted too; PolError names what in it is wrong.

    Files that it names are relative to its own place.
    """
    path = Path(path)
    try:
        values = tomllib.loads(_read(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolError(f"{path}: not TOML: {error}") from None
    top = _Table(path, "", values).only(*_TOP)
    stamps = top.table("stamps").only("agree", "require", "renewed")
    witnesses = top.table("witnesses").only("keys", "quorum")
    authorities = _authorities(top.table("authorities"))
    found = Trust(
        keys=(*keys, *_keys(top, VerifierKey.parse)),
        authorities=authorities,
        agree=stamps.count("agree", 1),
        require=_require(stamps),
        renewed=stamps.get("renewed", bool, False, "true or false"),
        witnesses=_keys(witnesses, WitnessKey.parse),
        quorum=witnesses.count("quorum", 0),
        limits=_limits(top.table("limits")),
    )
    return _sensible(found, top, stamps, witnesses)


def _sensible(found: Trust, top: _Table, stamps: _Table, witnesses: _Table) -> Trust:
    if not found.keys:
        raise top.error("keys", "names no prover's key, so nothing could be trusted")
    if not 1 <= found.agree <= max(1, len(found.authorities)):
        raise stamps.error("agree", f"is {found.agree}, of {len(found.authorities)} authorities")
    if found.require and not found.authorities:
        raise stamps.error("require", "asks for stamps, and no [authorities.NAME] is believed")
    if found.quorum > len(found.witnesses):
        raise witnesses.error("quorum", f"is {found.quorum}, of {len(found.witnesses)} witnesses")
    return found


def _keys(table: _Table, parse: Callable[[str, str], T]) -> tuple[T, ...]:
    return tuple(parse(_line(table, text), f"{table.file}: key {text[:40]}") for text in table.texts("keys"))


def _line(table: _Table, text: str) -> str:
    """Return a verifier line, given as such or by the name of the file that holds it."""
    if text.count("+") >= 2 or not text.endswith(".pub"):
        return text
    return _read(table.file.parent / text).decode(errors="replace").strip()


def _authorities(table: _Table) -> tuple[Authority, ...]:
    return tuple(_authority(name, table.table(name)) for name in table.values)


def _authority(name: str, table: _Table) -> Authority:
    table.only("roots", "policies", "accuracy")
    roots = [root for file in table.texts("roots") for root in _certificates(table, table.file.parent / file)]
    if not roots:
        raise table.error("roots", "names no file with a root certificate")
    return Authority(name, tuple(roots), frozenset(table.texts("policies")), table.span("accuracy") or ASSUMED)


def _certificates(table: _Table, path: Path) -> list[Certificate]:
    try:
        return load_pem_x509_certificates(_read(path))
    except ValueError:
        raise table.error("roots", f"names {path}, which holds no PEM certificate") from None


def _require(table: _Table) -> Require:
    names = {each.name.lower(): each for each in Require}
    text = table.get("require", str, "none", "a string")
    if text not in names:
        raise table.error("require", f"is none of {', '.join(names)}")
    return names[text]


def _limits(table: _Table) -> Limits:
    table.only("accuracy_seconds", "gap_hours", "steps_per_hour", "first_share")
    return Limits(
        accuracy=table.span("accuracy_seconds"),
        gap=table.span("gap_hours", _HOUR),
        rate=table.amount("steps_per_hour"),
        share=table.amount("first_share"),
    )


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_MOST + 1)
    if len(data) > _MOST:
        raise PolError(f"{path}: more than {_MOST} bytes")
    return data
