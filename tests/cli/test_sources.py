"""Find what a judge's file is made of: itself and the neighbours that it imports, however it does."""

import sys
from hashlib import sha256
from pathlib import Path

import pytest

from polarchive.cli.loading import function
from polarchive.cli.sources import forget, sources

FORMS = {
    "at once": "import near_a",
    "as": "import near_a as near_c",
    "a name of it": "from near_a import VALUE",
    "in a function": "def later():\n    import near_a",
    "if ever": "if False:\n    import near_a",
    "of a package": "import near_p.inner",
    "from a package": "from near_p import inner",
    "of a folder": "from near_n import inner",
    "of a folder, later": "def later():\n    from near_n import inner",
    "by a name made now": "from importlib import import_module\nimport_module('near' + '_a')",
    "by a neighbour": "import near_b",
}
TREE = {
    "near_a.py": "VALUE = 1\n",
    "near_b.py": "def later():\n    import near_a\n",
    "near_p/__init__.py": "",
    "near_p/inner.py": "from . import deep\nfrom .deep import VALUE\n",
    "near_p/deep.py": "VALUE = 1\n",
    "near_n/inner.py": "VALUE = 1\n",
    "unused.py": "",
    ".venv/lib/python3/site-packages/bought.py": "",
}
PACKAGE = {"near_p/__init__.py", "near_p/inner.py", "near_p/deep.py"}
NEEDED = {
    "of a package": PACKAGE,
    "from a package": PACKAGE,
    "of a folder": {"near_n/inner.py"},
    "of a folder, later": {"near_n/inner.py"},
    "by a neighbour": {"near_b.py", "near_a.py"},
}


def judge(folder: Path, text: str) -> Path:
    """Write a judge's file and its neighbours, and load it."""
    for name, content in TREE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    file = folder / "judge.py"
    file.write_text(f"{text}\ndef build(header, device):\n    return device\n")
    function(f"{file}:build")
    return file


@pytest.mark.parametrize("form", FORMS)
def test_neighbours_are_found(form: str, tmp_path: Path) -> None:
    file = judge(tmp_path, FORMS[form])
    found = dict(sources(file))
    forget(tmp_path)
    assert found.keys() == {"judge.py"} | NEEDED.get(form, {"near_a.py"})
    assert all(digest == sha256((tmp_path / name).read_bytes()).hexdigest() for name, digest in found.items())


def test_what_is_installed_is_not_the_judges(tmp_path: Path) -> None:
    path = "sys.path.append(__file__[:-8] + '.venv/lib/python3/site-packages')"
    file = judge(tmp_path, f"import sys, torch, polarchive\n{path}\nimport bought")
    assert [name for name, _ in sources(file)] == ["judge.py"] and "bought" in sys.modules
    forget(tmp_path)
    assert "bought" in sys.modules
    del sys.modules["bought"]
    sys.path.remove(str(tmp_path / ".venv/lib/python3/site-packages"))


def test_what_is_no_python_imports_nothing(tmp_path: Path) -> None:
    file = judge(tmp_path, "def later():\n    import odd")
    (tmp_path / "odd.py").write_bytes(b"\0import near_a")
    assert [name for name, _ in sources(file)] == ["judge.py", "odd.py"]
    forget(tmp_path)


@pytest.mark.parametrize("form", ["at once", "from a package", "of a folder"])
def test_what_is_forgotten_is_read_again(form: str, tmp_path: Path) -> None:
    judge(tmp_path, FORMS[form])
    before = set(sys.modules)
    forget(tmp_path)
    assert "_judge_judge" in before - set(sys.modules) and str(tmp_path) not in sys.path
    assert not [name for name in sys.modules if name.startswith("near_")]
