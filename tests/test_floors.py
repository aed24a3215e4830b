"""Test that a module imports only lower floors, and that the lowest ones need neither torch nor a network."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from tests.simulator import Simulation

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "polarchive"
FLOORS = {
    "errors": 0,
    "format": 1,
    "trust": 2,
    "recording": 3,
    "training": 4,
    "exchange": 4,
    "measures": 5,
    "verification": 6,
    "attacks": 6,
    "importers": 6,
    "contest": 7,
    "cli": 8,
}
STRANGERS = {
    ("training", "exchange"),
    ("exchange", "training"),
    *permutations(("verification", "attacks", "importers"), 2),
}
BANNED = {"utils", "common", "helpers", "core", "base", "manager", "engine"}
TORCH_FREE = ("format", "trust", "recording")
NETWORK = {
    "socket",
    "socketserver",
    "http",
    "urllib",
    "ssl",
    "requests",
    "httpx",
    "asyncio",
    "ftplib",
    "smtplib",
    "xmlrpc",
}
LIGHT = NETWORK | {"torch", "torchvision"}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
BELOW = [path for path in MODULES if path.relative_to(PACKAGE).parts[0] in TORCH_FREE]

SEE_IMPORTS = """
import sys
{statement}
heavy = sorted({{name.partition(".")[0] for name in sys.modules}} & {{"torch", "torchvision"}})
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""

INSPECT = """
from polarchive.cli.main import main
try:
    main(["inspect", "run.pol"])
except SystemExit as end:
    assert not end.code, end.code
"""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def floor_of(module: str) -> str:
    """Return the floor of a module's dotted name: the first word after the package's."""
    return module.split(".")[1] if "." in module else ""


def imports(source: str, module: str) -> Iterator[str]:
    """Yield the dotted name of everything that the source of a module imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
            yield from (part.value for part in node.args if isinstance(part, ast.Constant))


def is_allowed(importer: str, imported: str) -> bool:
    """Tell whether a module may import another: of its own floor, or of a lower one that is no stranger."""
    own, other = floor_of(importer), floor_of(imported)
    if own == other:
        return True
    return other in FLOORS and FLOORS[other] < FLOORS[own] and (own, other) not in STRANGERS


def trespasses(source: str, module: str) -> list[str]:
    found = imports(source, module)
    return [name for name in found if name.split(".")[0] == "polarchive" and not is_allowed(module, name)]


def heavy(source: str, module: str) -> set[str]:
    return {name.split(".")[0] for name in imports(source, module)} & LIGHT


def run(statement: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SEE_IMPORTS.format(statement=statement)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_package_is_found() -> None:
    assert len(MODULES) > 20 and len(BELOW) > 15


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_lower_floors(path: Path) -> None:
    assert floor_of(name_of(path)) in FLOORS, "a floor that the design does not have"
    assert trespasses(path.read_text(), name_of(path)) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_has_a_name_that_says_nothing(path: Path) -> None:
    assert not BANNED & set(name_of(path).split("."))


@pytest.mark.parametrize("path", BELOW, ids=name_of)
def test_format_and_trust_need_neither_torch_nor_a_network(path: Path) -> None:
    assert heavy(path.read_text(), name_of(path)) == set()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("polarchive.format.log", "from polarchive.trust import keys"),
        ("polarchive.format.log", "import polarchive.training.writer"),
        ("polarchive.format.log", "from polarchive import verification"),
        ("polarchive.format.log", "import polarchive"),
        ("polarchive.format.log", "from ..trust import keys"),
        ("polarchive.format.log", "def late():\n    from polarchive.cli import main"),
        ("polarchive.format.log", "import_module('polarchive.trust.keys')"),
        ("polarchive.training.writer", "from polarchive.exchange import stamps"),
        ("polarchive.exchange.stamps", "from polarchive.training import writer"),
        ("polarchive.verification.verify", "from polarchive import attacks"),
        ("polarchive.verification.verify", "from polarchive.attacks import infinitesimal"),
        ("polarchive.attacks.infinitesimal", "from polarchive.verification import replay"),
        ("polarchive.errors", "from polarchive.format import log"),
        ("polarchive.measures.laws", "from polarchive.unheard import of"),
    ],
)
def test_trespasses_are_seen(module: str, source: str) -> None:
    assert trespasses(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("polarchive.format.log", "from polarchive.format import merkle\nfrom polarchive.errors import Reason"),
        ("polarchive.verification.verify", "from polarchive.training import writer\nimport torch"),
        ("polarchive.contest", "from polarchive.attacks import catalogue\nfrom polarchive.verification import verify"),
        ("polarchive.cli.main", "from polarchive import contest"),
    ],
)
def test_ways_down_are_open(module: str, source: str) -> None:
    assert trespasses(source, module) == []


@pytest.mark.parametrize(
    "source", ["import torch.nn", "from torch import Tensor", "import urllib.request", "from http import client"]
)
def test_heavy_imports_are_seen(source: str) -> None:
    assert heavy(source, "polarchive.format.log")


@pytest.mark.parametrize("module", ["polarchive", "polarchive.format.archive", "polarchive.format.spelling"])
def test_importing_a_light_module_does_not_import_torch(module: str, tmp_path: Path) -> None:
    result = run(f"import {module}", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_watch_on_imports_sees_torch(tmp_path: Path) -> None:
    result = run("sys.modules['torch.nn'] = sys", tmp_path)
    assert result.returncode == 1 and "torch" in result.stderr


def test_opening_and_sealing_do_not_import_torch(tmp_path: Path) -> None:
    Simulation().seal(tmp_path / "run.pol")
    result = run(
        "import polarchive\nwith polarchive.open('run.pol', trusted=None) as archive: archive.seal()", tmp_path
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(not (PACKAGE / "cli" / "main.py").exists(), reason="there is no command line yet")
def test_inspect_does_not_import_torch(tmp_path: Path) -> None:
    Simulation().seal(tmp_path / "run.pol")
    result = run(INSPECT, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "not verified" in result.stdout.splitlines()[0]
