"""Make keys as people do, with and without a passphrase, and sign with them; a terminal is a real one."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Timer
from typing import Any, BinaryIO

import pytest

from polarchive.cli.exits import Exit
from polarchive.trust import keys
from tests.cli.test_cli import EXECUTABLE, Ended, is_one_line, polarc, run
from tests.trust.test_pkcs8 import public_of

FILES = ["bob.key", "bob.pub", "bob.pub.pem"]
SIGN = "import sys; from polarchive.cli.signing import signer; print(signer(sys.argv[1]).sign(b'message').hex())"


@pytest.fixture(autouse=True)
def no_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(keys.PASSPHRASE, raising=False)


def keygen(folder: Path, *more: object) -> Ended:
    return polarc("keygen", "bob.example", "-o", folder / "bob", *more)


def sign(folder: Path, **variables: str) -> Ended:
    """Sign a message without a terminal."""
    return run(sys.executable, "-c", SIGN, folder / "bob.key", **variables)


def on_a_terminal(command: list[Any], answers: list[tuple[str, str]], folder: Path) -> tuple[int, str, str]:
    """Run a command on a terminal and answer its prompts; return its code, what it printed, what the terminal saw."""
    ours, theirs = os.openpty()
    with open(folder / "printed", "wb") as out, os.fdopen(ours, "r+b", buffering=0) as terminal:
        parts = [str(part) for part in command]
        process = subprocess.Popen(parts, stdin=theirs, stdout=out, stderr=theirs, start_new_session=True)
        os.close(theirs)
        late = Timer(60, process.kill)
        late.start()
        with process:
            seen = "".join(answered(terminal, prompt, answer) for prompt, answer in answers) + rest(terminal)
        late.cancel()
    return process.returncode, (folder / "printed").read_text(), seen


def answered(terminal: BinaryIO, prompt: str, answer: str) -> str:
    """Wait for a prompt, answer it, and return what the terminal showed until then."""
    shown = b""
    while not shown.endswith(prompt.encode()):
        shown += terminal.read(1)
    terminal.write(f"{answer}\n".encode())
    return shown.decode()


def rest(terminal: BinaryIO) -> str:
    """Return what a terminal shows until the program leaves it."""
    shown = b""
    try:
        while more := terminal.read(1000):
            shown += more
    except OSError:  # how Linux says that nobody is at the other end
        pass
    return shown.decode()


def test_a_key_without_a_passphrase_is_said_to_be_one(tmp_path: Path) -> None:
    made = keygen(tmp_path)
    assert made.code == Exit.OK and made.err == ""
    assert [Path(line.split()[0]).name for line in made.out.splitlines()] == FILES
    assert "not encrypted" in made.out and str(keys.load_verifier(tmp_path / "bob.pub")) in made.out
    assert public_of(tmp_path / "bob.key") == keys.load_signer(tmp_path / "bob.key").key.public


@pytest.mark.parametrize("content", ["correct horse", "correct horse\n", "correct horse\nbattery\n"])
def test_a_passphrase_from_a_file_is_its_first_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text(content)
    made = keygen(tmp_path, "--passphrase-file", tmp_path / "passphrase")
    assert made.code == Exit.OK and "it is encrypted" in made.out and "horse" not in made.out
    signer = keys.load_signer(tmp_path / "bob.key", "correct horse")
    assert public_of(tmp_path / "bob.key", "correct horse") == signer.key.public


def test_openssl_reads_the_passphrase_from_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_bytes(b"\xff carriage return\r\n")
    keygen(tmp_path, "--passphrase-file", tmp_path / "passphrase")
    command = ["openssl", "pkey", "-in", tmp_path / "bob.key", "-passin", f"file:{tmp_path / 'passphrase'}", "-noout"]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("content", ["", "\n", "\nsecret\n", "x" * 1024])
def test_a_file_without_a_passphrase_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text(content)
    refused = keygen(tmp_path, "--passphrase-file", tmp_path / "passphrase")
    assert refused.code == Exit.USAGE and is_one_line(refused.err) and not (tmp_path / "bob.key").exists()


def test_one_way_to_give_a_passphrase_is_enough(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("secret")
    assert keygen(tmp_path, "--passphrase", "--passphrase-file", tmp_path / "passphrase").code == Exit.USAGE
    assert keygen(tmp_path, "--passphrase-file", tmp_path / "missing").code == Exit.USAGE
    assert not (tmp_path / "bob.key").exists()


def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    command = [EXECUTABLE, "keygen", "bob.example", "-o", tmp_path / "bob", "--passphrase"]
    refused = subprocess.run(command, input=b"secret\nsecret\n", capture_output=True, check=False)
    assert refused.returncode == Exit.USAGE and b"--passphrase-file" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_a_passphrase_is_asked_for_twice_and_then_to_sign(tmp_path: Path) -> None:
    command = [EXECUTABLE, "keygen", "bob.example", "-o", tmp_path / "bob", "--passphrase"]
    code, out, seen = on_a_terminal(command, [("Passphrase: ", "sécret"), ("Again: ", "sécret")], tmp_path)
    assert code == Exit.OK and "it is encrypted" in out and "cret" not in seen
    signer = keys.load_signer(tmp_path / "bob.key", "sécret")
    command = [sys.executable, "-c", SIGN, tmp_path / "bob.key"]
    code, out, seen = on_a_terminal(command, [(f"Passphrase of {tmp_path / 'bob.key'}: ", "sécret")], tmp_path)
    assert code == Exit.OK and bytes.fromhex(out) == signer.sign(b"message") and "cret" not in seen


def test_a_passphrase_that_is_not_repeated_is_asked_for_again(tmp_path: Path) -> None:
    command = [EXECUTABLE, "keygen", "bob.example", "-o", tmp_path / "bob", "--passphrase"]
    answers = [("Passphrase: ", "one"), ("Again: ", "two"), ("Passphrase: ", "three"), ("Again: ", "three")]
    assert on_a_terminal(command, answers, tmp_path)[0] == Exit.OK
    assert keys.load_signer(tmp_path / "bob.key", "three")


def test_a_passphrase_in_the_environment_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "passphrase").write_text("secret")
    keygen(tmp_path, "--passphrase-file", tmp_path / "passphrase")
    expected = keys.load_signer(tmp_path / "bob.key", "secret").sign(b"message")
    assert bytes.fromhex(sign(tmp_path, POLARC_PASSPHRASE="secret").out) == expected
    monkeypatch.setenv(keys.PASSPHRASE, "secret")
    code, out, seen = on_a_terminal([sys.executable, "-c", SIGN, tmp_path / "bob.key"], [], tmp_path)
    assert code == Exit.OK and bytes.fromhex(out) == expected and seen == ""


def test_a_key_without_a_passphrase_signs_without_a_question(tmp_path: Path) -> None:
    keygen(tmp_path)
    code, out, seen = on_a_terminal([sys.executable, "-c", SIGN, tmp_path / "bob.key"], [], tmp_path)
    assert code == Exit.OK and len(out) == 129 and seen == ""


def test_neither_terminal_nor_environment_is_told_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("secret")
    keygen(tmp_path, "--passphrase-file", tmp_path / "passphrase")
    assert f"{keys.PASSPHRASE}" in sign(tmp_path).err.splitlines()[-1]
    assert "the passphrase is wrong" in sign(tmp_path, POLARC_PASSPHRASE="Secret").err.splitlines()[-1]
