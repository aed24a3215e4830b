"""Hold the table of checks in SPEC.md to the code: every check is in it, and every forgery that it names is one."""

from pathlib import Path

import polarchive
from polarchive.verification.policy import Policy
from tests.forgeries import CATALOGUE

ROOT = Path(__file__).parents[1]
ELSEWHERE = {"any edit: it raises", "a fault of ours: it raises", "too few stamps", ""}


def rows() -> dict[str, str]:
    """Return what the table says only a check refuses, by its name."""
    text = (ROOT / "SPEC.md").read_text().partition("### Checks\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")]
    return {cell[0].strip("`"): cell[3] for cell in cells}


def test_every_check_is_in_the_table() -> None:
    names = {path.stem for path in Path(polarchive.__path__[0], "verification", "checks").glob("[a-z]*.py")}
    assert rows().keys() == (names - {"replay_error", "second"}) | {"replay", "trees", "pairs"}
    assert {name.partition("(")[0].lower() for name in Policy().checks} <= rows().keys()


def test_every_forgery_that_it_names_is_refused_by_that_check() -> None:
    named = [(check, forgery) for check, told in rows().items() for forgery in told.split("; ")]
    for check, forgery in named:
        if forgery not in ELSEWHERE:
            assert CATALOGUE[forgery].check in (check, "initial" if check == "parent" else check)
