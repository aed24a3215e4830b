"""Test `polarc dispute`: the finding, its exit code, and what of the command line is refused."""

import json
from pathlib import Path

import pytest

import polarchive as pol
from polarchive.cli.exits import Exit
from tests import disputes
from tests.cli.test_cli import polarc
from tests.disputes import AUTHORITY, END, GROWING, sealed
from tests.simulator import PROVER, STRANGER
from tests.workloads import threads

LATER = {size: 10 + when for size, when in GROWING.items()}


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the archives of Alice and Eve, a trust file, and the judge's report on Alice's."""
    folder = tmp_path_factory.mktemp("court")
    with threads(1):
        for name, record, at in (("alice", disputes.victim, GROWING), ("eve", disputes.copy, LATER)):
            sealed(record(folder / ("victim" if name == "alice" else "copy")), folder / f"{name}.pol", at)
        disputes.judged(folder / "alice.pol", folder / "victim", folder / "alice.json")
        sealed(folder / "copy", folder / "early.pol", {END: -3})
    AUTHORITY.save_root(folder / "root.pem")
    keys = f'keys = ["{PROVER.key}", "{STRANGER.key}"]\n'
    (folder / "trust.toml").write_text(keys + '[authorities.one]\nroots = "root.pem"\n')
    return folder


def test_a_finding_is_told_and_settles(court: Path) -> None:
    ended = polarc(
        *("dispute", court / "alice.pol", court / "eve.pol", "--trust", court / "trust.toml"),
        *("--report", court / "alice.json"),
    )
    assert ended.code == Exit.OK, ended.err
    assert ended.out.splitlines()[0] == "PRIOR: the claim of alice.pol is the earlier one"


def test_what_is_not_decided_exits_otherwise(court: Path) -> None:
    ended = polarc("dispute", court / "alice.pol", court / "early.pol", "--trust", court / "trust.toml", "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["outcome"], told["by_date"]) == (Exit.INCONCLUSIVE, "undecided", "early.pol")
    assert [pair["first"] for pair in told["shared_states"]] == ["early.pol"] * 3


def test_a_report_on_neither_is_refused(court: Path, tmp_path: Path) -> None:
    told = json.loads((court / "alice.json").read_bytes())
    (tmp_path / "other.json").write_text(json.dumps({**told, "archive": "00" * 32}))
    ended = polarc(
        *("dispute", court / "alice.pol", court / "eve.pol", "--trust", court / "trust.toml"),
        *("--report", tmp_path / "other.json"),
    )
    assert ended.code == Exit.USAGE and "a report on neither" in ended.err


def test_a_report_on_a_strangers_archive_is_a_report_on_it(court: Path, tmp_path: Path) -> None:
    with pol.open(court / "eve.pol", trusted=None) as archive:
        told = {**json.loads((court / "alice.json").read_bytes()), "archive": archive.digest.hex()}
    (tmp_path / "eve.json").write_text(json.dumps(told))
    (tmp_path / "alice.pub").write_text(f"{PROVER.key}\n")
    ended = polarc(
        *("dispute", court / "alice.pol", court / "eve.pol", "--key", tmp_path / "alice.pub"),
        *("--report", court / "alice.json", "--report", tmp_path / "eve.json"),
    )
    assert ended.code == Exit.OK, ended.err
    assert ended.out.startswith("ONLY: only the claim of alice.pol stands") and "not a trusted key" in ended.out


def test_whom_to_trust_must_be_said(court: Path) -> None:
    ended = polarc("dispute", court / "alice.pol", court / "eve.pol")
    assert ended.code == Exit.USAGE and "--key PUBLIC_KEY or --trust FILE" in ended.err


def test_verify_reads_the_trust_file_too(court: Path) -> None:
    ended = polarc("verify", court / "alice.pol", "--trust", court / "trust.toml")
    assert ended.code == Exit.OK and "segments 0 to 1 existed at 2026-01-01T02:00:00Z" in ended.out
    strict = court / "strict.toml"
    strict.write_text((court / "trust.toml").read_text() + '[stamps]\nrequire = "bounded"\n')
    ended = polarc("verify", court / "alice.pol", "--trust", strict, "--json")
    assert ended.code == Exit.REJECTED and json.loads(ended.out)["verdict"] == "rejected"
    (reason,) = json.loads(ended.out)["reasons"]
    assert reason["message"] == "its last segments do not say which stamp they were made after"
