"""Test keys on disk: private ones stay private, nothing is overwritten, and every refusal says what to do."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from polarchive.errors import FormatError, PolError, SignatureError
from polarchive.format import disk
from polarchive.trust import keys, pkcs8
from polarchive.trust.keys import KeySigner
from tests.trust.test_pkcs8 import openssl, public_of

FILES = ["alice.example.key", "alice.example.pub", "alice.example.pub.pem"]
OTHERS = [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scrypt take no time, and no passphrase be in the environment."""
    monkeypatch.setattr(pkcs8, "COST", 16)
    monkeypatch.setattr(pkcs8, "PASSES", 1)
    monkeypatch.delenv(keys.PASSPHRASE, raising=False)


def saved(folder: Path, passphrase: str | bytes | None = None) -> tuple[KeySigner, Path]:
    """Save a fresh key and return it and the path of its private half."""
    signer = keys.generate("alice.example")
    return signer, keys.save(signer, folder / "alice.example", passphrase)[0]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def never() -> str:
    raise AssertionError("asked for a passphrase")


# save


@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_one_key_in_three_files(passphrase: str | None, tmp_path: Path) -> None:
    signer, private = saved(tmp_path, passphrase)
    assert names(tmp_path) == FILES
    assert keys.load_verifier(tmp_path / FILES[1]) == signer.key
    assert keys.load_signer(private, passphrase).key == signer.key
    assert public_of(private, passphrase or "") == signer.key.public
    read = openssl("pkey", "-pubin", "-in", tmp_path / FILES[2], "-pubout", "-outform", "DER")
    assert read[-32:] == signer.key.public and b"ED25519" in openssl(
        "pkey", "-pubin", "-in", tmp_path / FILES[2], "-text"
    )


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_only_the_owner_can_read_the_private_key(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        saved(tmp_path)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in FILES]
    assert modes == [0o600, 0o644 & ~umask, 0o644 & ~umask]


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(FileExistsError, match=f"{name} exists already"):
        saved(tmp_path)
    assert names(tmp_path) == [name] and (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize("name", FILES)
def test_nothing_that_appears_meanwhile_is_overwritten(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    (tmp_path / name).write_text("precious")
    with pytest.raises(FileExistsError):
        saved(tmp_path)
    assert names(tmp_path) == [name] and (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize("call", range(10))
@pytest.mark.parametrize(
    ("owner", "name"), [(disk, "sync"), (disk, "sync_folder"), (disk.Raw, "append"), (os, "link"), (os, "open")]
)
def test_nothing_is_left_of_a_writing_that_fails(
    owner: object, name: str, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, failing(getattr(owner, name), call))
    try:
        saved(tmp_path)
    except OSError as error:
        assert str(error) == "no space" and names(tmp_path) == []
    else:
        assert names(tmp_path) == FILES and call > 0


def failing(function: Callable[..., object], after: int) -> Callable[..., object]:
    """Return a function that fails once, after some calls."""
    calls = iter(range(1000))

    def call(*arguments: object) -> object:
        if next(calls) == after:
            raise OSError("no space")
        return function(*arguments)

    return call


def test_an_empty_passphrase_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(PolError, match="a passphrase is one line"):
        saved(tmp_path, "")
    assert names(tmp_path) == []


# load_signer


def test_a_passphrase_is_given_returned_or_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer, private = saved(tmp_path, "sécret")
    for given in ("sécret", "sécret".encode(), lambda: "sécret", "sécret".encode):
        assert keys.load_signer(private, given).key == signer.key
    monkeypatch.setenv(keys.PASSPHRASE, "sécret")
    assert keys.load_signer(private).key == signer.key


def test_a_passphrase_that_is_no_text_comes_through_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer, private = saved(tmp_path, b"\xff\xfe")
    monkeypatch.setenv(keys.PASSPHRASE, os.fsdecode(b"\xff\xfe"))
    assert keys.load_signer(private).key == signer.key


def test_a_given_passphrase_comes_before_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer, private = saved(tmp_path, "secret")
    monkeypatch.setenv(keys.PASSPHRASE, "another")
    assert keys.load_signer(private, "secret").key == signer.key


def test_nobody_is_asked_for_the_passphrase_of_a_plain_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer, private = saved(tmp_path)
    monkeypatch.setenv(keys.PASSPHRASE, "of another key")
    assert keys.load_signer(private, never).key == signer.key


def refusal(path: Path, passphrase: keys.Given = None) -> str:
    """Return the one line that refuses a key, without the path that it begins with."""
    with pytest.raises(PolError) as refused:
        keys.load_signer(path, passphrase)
    place, _, said = str(refused.value).partition(": ")
    assert place == str(path) and "\n" not in said
    return said


@pytest.mark.parametrize("variable", [None, ""])
def test_without_a_passphrase_it_is_said_where_to_give_it(
    variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, private = saved(tmp_path, "secret")
    if variable is not None:
        monkeypatch.setenv(keys.PASSPHRASE, variable)
    assert refusal(private) == "encrypted; give its passphrase in the environment variable POLARC_PASSPHRASE"


@pytest.mark.parametrize("passphrase", ["", "Secret", b"secret\n", lambda: ""])
def test_a_wrong_passphrase_is_refused(passphrase: keys.Given, tmp_path: Path) -> None:
    assert refusal(saved(tmp_path, "secret")[1], passphrase) == "the passphrase is wrong, or the file damaged"


def test_a_key_without_its_public_half_is_refused(tmp_path: Path) -> None:
    _, private = saved(tmp_path, "secret")
    (tmp_path / FILES[1]).unlink()
    with pytest.raises(FileNotFoundError, match=FILES[1]):
        keys.load_signer(private, never)


def test_a_key_beside_the_public_half_of_another_is_refused(tmp_path: Path) -> None:
    _, private = saved(tmp_path)
    (tmp_path / FILES[1]).write_text(f"{keys.generate('alice.example').key}\n")
    assert refusal(private).startswith("not the private half of ")
    (tmp_path / FILES[1]).write_bytes((tmp_path / FILES[2]).read_bytes())
    with pytest.raises(FormatError, match=FILES[1]):
        keys.load_signer(private)


@pytest.mark.parametrize("place", range(0, 370, 7))
@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_no_damage_makes_another_key(passphrase: str | None, place: int, tmp_path: Path) -> None:
    signer, private = saved(tmp_path, passphrase)
    text = bytearray(private.read_bytes())
    text[place % len(text)] ^= 1
    private.write_bytes(text)
    try:
        assert keys.load_signer(private, passphrase).key == signer.key
    except (PolError, SignatureError) as error:
        assert str(error).startswith(f"{private}: ")


def test_a_key_that_openssl_made_signs_under_the_name_beside_it(tmp_path: Path) -> None:
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "plain")
    openssl(
        *("pkcs8", "-topk8", "-scrypt", "-in", tmp_path / "plain", "-out", tmp_path / "bob.key"),
        *("-passout", "pass:secret"),
    )
    key = keys.named("bob.example", public_of(tmp_path / "plain"))
    (tmp_path / "bob.pub").write_text(f"{key}\n")
    signer = keys.load_signer(tmp_path / "bob.key", "secret")
    key.check(b"message", signer.sign(b"message"), "message")


@pytest.mark.parametrize("mode", OTHERS, ids=oct)
@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_a_key_that_others_have_access_to_is_refused(mode: int, passphrase: str | None, tmp_path: Path) -> None:
    _, private = saved(tmp_path, passphrase)
    private.chmod(mode)
    said = refusal(private, never)
    assert said == f"others have access to this private key; take it from them: chmod 600 {private}"


@pytest.mark.parametrize("name", FILES[1:])
def test_a_public_key_given_for_the_private_one_is_named_as_such(name: str, tmp_path: Path) -> None:
    _, private = saved(tmp_path)
    with pytest.raises(PolError) as caught:
        keys.load_signer(tmp_path / name)
    assert (
        str(caught.value) == f"{tmp_path / name}: the public key, which signs nothing; give the private one, {private}"
    )


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_key_that_only_its_owner_has_access_to_is_read(mode: int, tmp_path: Path) -> None:
    signer, private = saved(tmp_path)
    private.chmod(mode)
    assert keys.load_signer(private).key == signer.key


def test_a_key_that_someone_else_put_there_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer, private = saved(tmp_path)
    private.chmod(0o644)
    monkeypatch.setattr(os, "getuid", lambda: private.stat().st_uid + 1)
    assert keys.load_signer(private).key == signer.key
