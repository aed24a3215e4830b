from datetime import timedelta
from pathlib import Path

import pytest

from polarchive.errors import PolError
from polarchive.format.cosignature import WitnessKey
from polarchive.trust import trustfile
from polarchive.trust.trust import ASSUMED, Limits, Require
from tests.authority import Authority
from tests.simulator import PROVER, STRANGER

KEYS = f'keys = ["{PROVER.key}"]\n'
AUTHORITY = '[authorities.one]\nroots = "root.pem"\n'
WITNESS = WitnessKey(STRANGER.key.name, STRANGER.key.public)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Authority().save_root(tmp_path / "root.pem")
    (tmp_path / "prover.pub").write_text(f"{PROVER.key}\n")
    (tmp_path / "empty.pem").write_text("none here\n")
    return tmp_path


def load(folder: Path, text: str) -> object:
    (folder / "trust.toml").write_text(text)
    return trustfile.load(folder / "trust.toml")


def test_all_of_it(folder: Path) -> None:
    found = load(
        folder,
        f"""
        keys = ["prover.pub", "{STRANGER.key}"]
        [authorities.one]
        roots = "root.pem"
        [authorities.two]
        roots = ["root.pem"]
        policies = ["1.2.3", "1.2.4"]
        accuracy = 0.5
        [stamps]
        agree = 2
        require = "bounded"
        renewed = true
        [witnesses]
        keys = ["{WITNESS}"]
        quorum = 1
        [limits]
        accuracy_seconds = 5
        gap_hours = 24
        steps_per_hour = 1000
        first_share = 0.25
        """,
    )
    assert found.keys == (PROVER.key, STRANGER.key)
    one, two = found.authorities
    assert (one.name, one.policies, one.accuracy) == ("one", frozenset(), ASSUMED)
    assert (two.policies, two.accuracy, len(two.roots)) == ({"1.2.3", "1.2.4"}, timedelta(seconds=0.5), 1)
    assert (found.agree, found.require, found.renewed) == (2, Require.BOUNDED, True)
    assert (found.witnesses, found.quorum) == ((WITNESS,), 1)
    assert found.limits == Limits(timedelta(seconds=5), timedelta(hours=24), 1000, 0.25)


def test_the_least_of_it(folder: Path) -> None:
    found = load(folder, KEYS)
    assert (found.keys, found.authorities, found.require, found.limits) == ((PROVER.key,), (), Require.NONE, Limits())


def test_keys_of_the_command_line_are_trusted_too(folder: Path) -> None:
    (folder / "trust.toml").write_text(KEYS)
    assert trustfile.load(folder / "trust.toml", (STRANGER.key,)).keys == (STRANGER.key, PROVER.key)


WRONG = {
    "not TOML": ("keys = [", "not TOML"),
    "not UTF-8": ("keys = '\udcff'", "not TOML"),
    "no keys": (AUTHORITY, "keys names no prover's key"),
    "a key that is none": ('keys = ["alice"]', "not a verifier key"),
    "a witness's key for a prover's": (f'keys = ["{WITNESS}"]', "not an Ed25519 verifier key"),
    "a number for a key": ("keys = [1]", "not a string or a list of strings"),
    "an unknown key": (KEYS + "key = 1\n", "key is no key here; known are keys, authorities"),
    "an unknown key of an authority": (KEYS + AUTHORITY + "root = 'x'\n", "[authorities.one] root is no key here"),
    "an unknown demand": (KEYS + "[stamps]\nrequired = 'end'\n", "[stamps] required is no key here"),
    "an unknown limit": (KEYS + "[limits]\ngap = 1\n", "[limits] gap is no key here"),
    "an authority that is no table": (KEYS + "[authorities]\none = 1\n", "[authorities] one is not a table"),
    "an authority without roots": (KEYS + "[authorities.one]\n", "names no file with a root certificate"),
    "roots that hold no certificate": (KEYS + '[authorities.one]\nroots = "empty.pem"\n', "holds no PEM certificate"),
    "a demand of another kind": (KEYS + AUTHORITY + "[stamps]\nrequire = 1\n", "require is not a string"),
    "a demand that is none": (KEYS + AUTHORITY + "[stamps]\nrequire = 'all'\n", "none, end, growth, bounded"),
    "stamps demanded of nobody": (KEYS + "[stamps]\nrequire = 'end'\n", "no [authorities.NAME] is believed"),
    "more agreement than authorities": (KEYS + AUTHORITY + "[stamps]\nagree = 2\n", "agree is 2, of 1 authorities"),
    "agreement of none": (KEYS + AUTHORITY + "[stamps]\nagree = 0\n", "agree is 0"),
    "agreement that is true": (KEYS + AUTHORITY + "[stamps]\nagree = true\n", "agree is not a whole number"),
    "renewed that is 1": (KEYS + "[stamps]\nrenewed = 1\n", "renewed is not true or false"),
    "a quorum without witnesses": (KEYS + "[witnesses]\nquorum = 1\n", "quorum is 1, of 0 witnesses"),
    "a quorum below 0": (KEYS + "[witnesses]\nquorum = -1\n", "quorum is below 0"),
    "one witness twice": (KEYS + f'[witnesses]\nkeys = ["{WITNESS}", "{WITNESS}"]\n', "two of one name"),
    "one witness by two names": (
        KEYS + f'[witnesses]\nkeys = ["{WITNESS}", "{WitnessKey("other.example", WITNESS.public)}"]\n',
        "one key under two names",
    ),
    "a limit of 0": (KEYS + "[limits]\ngap_hours = 0\n", "gap_hours is not a number above 0"),
    "a limit of nan": (KEYS + "[limits]\ngap_hours = nan\n", "gap_hours is not a number above 0"),
    "a limit beyond all time": (KEYS + "[limits]\ngap_hours = 1e300\n", "gap_hours is too long a time"),
    "a limit that is true": (KEYS + "[limits]\nsteps_per_hour = true\n", "steps_per_hour is not a number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str, folder: Path) -> None:
    text, message = WRONG[name]
    (folder / "trust.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(PolError) as caught:
        trustfile.load(folder / "trust.toml")
    assert message in str(caught.value) and "trust.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_without_end_is_not_read(folder: Path) -> None:
    (folder / "trust.toml").write_text("#" * (2 << 20))
    with pytest.raises(PolError, match="more than 1048576 bytes"):
        trustfile.load(folder / "trust.toml")


def test_the_example_is_one(folder: Path) -> None:
    text = (Path(__file__).parents[2] / "examples" / "trust.toml").read_text()
    (folder / "alice.pub").write_text(f"{PROVER.key}\n")
    (folder / "authority").mkdir()
    Authority().save_root(folder / "authority" / "ca.pem")
    found = load(folder, text)
    assert (found.require, len(found.authorities)) == (Require.GROWTH, 1)
