"""Forge, and hold contests, from the command line."""

from pathlib import Path

import pytest

import polarchive as pol
from tests.cli.test_cli import Ended, is_one_line, polarc

TRAINING = f"{Path(__file__).with_name('training.py')}:small"


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contest")


def held(contest: Path, *more: str) -> Ended:
    names = ["--attacks", "honest, infinitesimal", "--policies", "strict,jia2021_full", "--protocols", "committed"]
    asked = ["--workload", TRAINING, *names, "--delta", "0.5", "--threads", "1", "-o", str(contest / "all")]
    return polarc("contest", *asked, *more)


def test_a_contest_is_told_drawn_and_kept(contest: Path) -> None:
    table, plot = contest / "table.md", contest / "plot.svg"
    ended = held(contest, "--table", str(table), "--plot", str(plot))
    assert ended.code == 0, ended.err
    assert ended.out.strip() == table.read_text().strip() and plot.read_bytes().startswith(b"<?xml")
    assert "| honest | **accepted** | **accepted** |" in ended.out
    assert "| infinitesimal | rejected (" in ended.out and ") | **accepted** |" in ended.out
    again = held(contest, "--json")
    assert again.code == 0 and {row["verdict"] for row in again.json["honest"]["rows"]} == {"accepted"}


@pytest.mark.parametrize("attack", ["infinitesimal", TRAINING.replace("small", "own")], ids=["known", "own"])
def test_a_spoof_is_made_to_keep(attack: str, contest: Path, tmp_path: Path) -> None:
    if not (contest / "all").exists():
        held(contest)
    assert polarc("keygen", "thief.example", "-o", tmp_path / "thief").code == 0
    victim = contest / "all" / "victim" / "run.pol"
    asked = ["--victim", str(victim), "--workload", TRAINING, "--key", str(tmp_path / "thief.key")]
    ended = polarc("attack", attack, *asked, "-o", tmp_path / "spoof.pol")
    assert ended.code == 0 and "spoof.pol" in ended.out, ended.err
    key = pol.load_verifier(tmp_path / "thief.pub")
    with pol.open(tmp_path / "spoof.pol", trusted=[key]) as spoof, pol.open(victim, trusted=None) as real:
        claimed, true = spoof.state(-1), real.state(-1)
        models = [name for name in true if name.startswith("model/")]
        assert models and all(bytes(claimed[name].data) == bytes(true[name].data) for name in models)
    ended = polarc("verify", tmp_path / "spoof.pol", "--key", tmp_path / "thief.pub", "--html", tmp_path / "page.html")
    assert ended.code == 2 and "tell of a replay" in ended.err and not (tmp_path / "page.html").exists()
    judge = ["--trainer", f"{Path(__file__).with_name('training.py')}:build", "--secret", tmp_path / "spoof/run/secret"]
    shown = ["--key", tmp_path / "thief.pub", "--batches", tmp_path / "spoof/batches", "--html", tmp_path / "page.html"]
    ended = polarc("verify", tmp_path / "spoof.pol", *judge, *shown)
    assert ended.code == 1 and "REJECTED" in ended.out.upper(), ended.err
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!doctype html>") and "rejected" in page.lower()
    ended = polarc("attack", attack, *asked, "-o", tmp_path / "spoof.pol")
    assert ended.code == 2 and "exists already" in ended.err


def test_a_victim_of_another_model_is_refused_and_leaves_nothing(contest: Path, tmp_path: Path) -> None:
    if not (contest / "all").exists():
        held(contest)
    assert polarc("keygen", "thief.example", "-o", tmp_path / "thief").code == 0
    files = ["--victim", contest / "all" / "victim" / "run.pol", "--key", tmp_path / "thief.key"]
    other = TRAINING.replace("small", "another")
    ended = polarc("attack", "infinitesimal", *files, "--workload", other, "-o", tmp_path / "spoof.pol")
    assert ended.code == 2 and "its model has no place for model/bn1.bias (8,), in which the victim ends" in ended.err
    assert is_one_line(ended.err) and not list(tmp_path.glob("spoof*"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--attacks", "magic"], "magic: no attack has this name; known are honest"),
        (["--policies", "kind"], "kind: no policy has this name"),
        (["--protocols", "none"], "none: no protocol has this name"),
        (["--protocols", "stamped"], "needs --tsa URL"),
        (["--tsa", "http://127.0.0.1:9/"], "--tsa and --tsa-root go together"),
    ],
)
def test_what_is_wrong_is_named(changes: list[str], said: str, contest: Path) -> None:
    ended = held(contest, *changes)
    assert ended.code == 2 and said in ended.err and "Traceback" not in ended.err


def test_attacks_on_published_proofs_need_one(contest: Path, tmp_path: Path) -> None:
    (tmp_path / "victim.pol").write_bytes(b"")
    (tmp_path / "key").write_bytes(b"")
    files = [
        "--victim",
        str(tmp_path / "victim.pol"),
        "--key",
        str(tmp_path / "key"),
        "-o",
        str(tmp_path / "spoof.pol"),
    ]
    ended = polarc("attack", "magic", "--workload", TRAINING, *files)
    assert ended.code == 2 and "magic: no attack has this name" in ended.err
    ended = polarc("attack", TRAINING, "--workload", TRAINING, *files)
    assert ended.code == 2 and "small: returned a Workload, which is no Attack" in ended.err
