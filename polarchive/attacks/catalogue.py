"""Name every attack, as it is run by default; a new one is a file and a line here."""

from collections.abc import Mapping
from typing import Final

from polarchive.attacks.attack import Attack
from polarchive.attacks.honest import Honest
from polarchive.attacks.infinitesimal import Infinitesimal

CATALOGUE: Final[Mapping[str, Attack]] = {
    "honest": Honest(),
    "infinitesimal": Infinitesimal(),
}
