"""Read a judge's trust file: TOML, in which a key that is not known is an error (examples/trust.toml)."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from cryptography.x509 import Certificate, load_pem_x509_certificates

from polarchive.format.cosignature import WitnessKey
from polarchive.format.note import VerifierKey
from polarchive.trust import settings
from polarchive.trust.settings import Table, contents
from polarchive.trust.trust import ASSUMED, Authority, Limits, Require, Trust

T = TypeVar("T")
_TOP: Final = ("keys", "authorities", "stamps", "witnesses", "limits")
_HOUR: Final = 3600.0


def load(path: str | Path, keys: tuple[VerifierKey, ...] = ()) -> Trust:
    """Return what the trust file at `path` says, and `keys` trusted too; PolError names what in it is wrong.

    Files that it names are relative to its own place.
    """
    top = settings.read(path).only(*_TOP)
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


def _sensible(found: Trust, top: Table, stamps: Table, witnesses: Table) -> Trust:
    if not found.keys:
        raise top.error("keys", "names no prover's key, so nothing could be trusted")
    if not 1 <= found.agree <= max(1, len(found.authorities)):
        raise stamps.error("agree", f"is {found.agree}, of {len(found.authorities)} authorities")
    if found.require and not found.authorities:
        raise stamps.error("require", "asks for stamps, and no [authorities.NAME] is believed")
    if len({key.name for key in found.witnesses}) < len(found.witnesses):
        raise witnesses.error("keys", "has two of one name: a witness counts once")
    if len({key.public for key in found.witnesses}) < len(found.witnesses):
        raise witnesses.error("keys", "has one key under two names: a witness counts once")
    if found.quorum > len(found.witnesses):
        raise witnesses.error("quorum", f"is {found.quorum}, of {len(found.witnesses)} witnesses")
    return found


def _keys(table: Table, parse: Callable[[str, str], T]) -> tuple[T, ...]:
    return tuple(parse(_line(table, text), f"{table.file}: key {text[:40]}") for text in table.texts("keys"))


def _line(table: Table, text: str) -> str:
    """Return a verifier line, given as such or by the name of the file that holds it."""
    if text.count("+") >= 2 or not text.endswith(".pub"):
        return text
    return contents(table.file.parent / text).decode(errors="replace").strip()


def _authorities(table: Table) -> tuple[Authority, ...]:
    return tuple(_authority(name, table.table(name)) for name in table.values)


def _authority(name: str, table: Table) -> Authority:
    table.only("roots", "policies", "accuracy")
    roots = [root for file in table.texts("roots") for root in _certificates(table, table.file.parent / file)]
    if not roots:
        raise table.error("roots", "names no file with a root certificate")
    return Authority(name, tuple(roots), frozenset(table.texts("policies")), table.span("accuracy") or ASSUMED)


def _certificates(table: Table, path: Path) -> list[Certificate]:
    try:
        return load_pem_x509_certificates(contents(path))
    except ValueError:
        raise table.error("roots", f"names {path}, which holds no PEM certificate") from None


def _require(table: Table) -> Require:
    names = {each.name.lower(): each for each in Require}
    text = table.get("require", str, "none", "a string")
    if text not in names:
        raise table.error("require", f"is none of {', '.join(names)}")
    return names[text]


def _limits(table: Table) -> Limits:
    table.only("accuracy_seconds", "gap_hours", "steps_per_hour", "first_share")
    return Limits(
        accuracy=table.span("accuracy_seconds"),
        gap=table.span("gap_hours", _HOUR),
        rate=table.amount("steps_per_hour"),
        share=table.amount("first_share"),
    )
