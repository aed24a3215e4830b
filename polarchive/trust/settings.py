"""Read settings of a judge's own: TOML files in which a key that is not known is an error."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from polarchive.errors import PolError

T = TypeVar("T")
_MOST: Final = 1 << 20  # bytes of a file, or of one that it names


@dataclass(frozen=True, slots=True)
class Table:
    """Read one table of a file; errors name file, table and key."""

    file: Path
    name: str
    values: Mapping[str, Any]

    def only(self, *known: str) -> "Table":
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

    def table(self, key: str) -> "Table":
        """Return a table in this one, empty if it is not given."""
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, "is not a table")
        return Table(self.file, f"{self.name}.{key}".strip("."), value)


def read(path: str | Path) -> Table:
    """Return the outermost table of the TOML file at `path`; PolError if it is none."""
    path = Path(path)
    try:
        return Table(path, "", tomllib.loads(contents(path).decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolError(f"{path}: not TOML: {error}") from None


def contents(path: Path) -> bytes:
    """Return the bytes of a file; PolError if they are too many."""
    with path.open("rb") as file:
        data = file.read(_MOST + 1)
    if len(data) > _MOST:
        raise PolError(f"{path}: more than {_MOST} bytes")
    return data
