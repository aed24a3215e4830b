"""Test signed heads: published notes verify, and no byte can be other than as signed."""

import base64
import string
from collections.abc import Callable
from hashlib import sha256

import hypothesis.strategies as st
import pytest
from hypothesis import given

from polarchive.errors import FormatError, Reason, SignatureError
from polarchive.format import note
from polarchive.format.limits import MAX_NOTE
from polarchive.format.note import Head, VerifierKey
from tests.format.strategies import PRINTABLE, digests, signers
from tests.simulator import PROVER, STRANGER, FakeSigner

HEAD = Head("prover.example/run", 12, bytes(range(32)))
SIGNED = note.sign(HEAD, PROVER)
ORDER = (1 << 252) + 27742317777372353535851937790883648493  # of the Ed25519 base point

# Text, verifier key and signature line of notes that others published.
C2SP = (
    "This is an example message.\n",
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=",
)
GO = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n",
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=",
)
GO_SUM_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_SUM_CHECKPOINT = """\
go.sum database tree
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— sum.golang.org Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""


def line(index: int, change: Callable[[bytes], bytes]) -> bytes:
    """Return the signed note with one of its lines changed."""
    lines = SIGNED.split(b"\n")
    lines[index] = change(lines[index])
    return b"\n".join(lines)


def signed_line(blob: bytes, name: str = PROVER.name) -> bytes:
    return f"{note.DASH}{name} {base64.b64encode(blob).decode()}".encode()


def resigned(text: bytes) -> bytes:
    """Return a note of another text under a signature that is good."""
    return text + b"\n" + signed_line(PROVER.key.id + PROVER.sign(text)) + b"\n"


def shifted_by_the_group_order(signature: bytes) -> bytes:
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + scalar.to_bytes(32, "little")


def with_loose_bits(text: bytes) -> bytes:
    """Return a line of base64 whose last letter says the same in another way: its lowest bit means nothing."""
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    other = text[:-2] + letters[letters.index(chr(text[-2])) + 1].encode() + b"="
    assert base64.b64decode(other.split()[-1]) == base64.b64decode(text.split()[-1])
    return other


SIGNATURE = PROVER.sign(HEAD.text)
ID = PROVER.key.id
ROOT = base64.b64encode(HEAD.root)
HOSTILE = {
    "empty": b"",
    "no_signature": HEAD.text + b"\n",
    "no_blank_line": HEAD.text + SIGNED.split(b"\n")[4] + b"\n",
    "no_last_line_end": SIGNED[:-1],
    "another_line_end": SIGNED + b"\n",
    "two_signatures": SIGNED + SIGNED.split(b"\n")[4] + b"\n",
    "carriage_returns": SIGNED.replace(b"\n", b"\r\n"),
    "byte_order_mark": b"\xef\xbb\xbf" + SIGNED,
    "not_utf8": b"\xff" + SIGNED,
    "extension_line": resigned(HEAD.text + b"extension\n"),
    "no_origin": resigned(HEAD.text.removeprefix(HEAD.origin.encode())),
    "origin_not_ascii": resigned("né\n12\n".encode() + ROOT + b"\n"),
    "origin_with_a_control": resigned(b"n\x07\n12\n" + ROOT + b"\n"),
    "size_empty": resigned(b"n\n\n" + ROOT + b"\n"),
    "size_with_a_zero": resigned(b"n\n012\n" + ROOT + b"\n"),
    "size_with_a_sign": resigned(b"n\n+12\n" + ROOT + b"\n"),
    "size_with_a_space": resigned(b"n\n 12\n" + ROOT + b"\n"),
    "size_with_an_underscore": resigned(b"n\n1_2\n" + ROOT + b"\n"),
    "size_in_other_digits": resigned("n\n١٢\n".encode() + ROOT + b"\n"),
    "size_superscript": resigned("n\n²\n".encode() + ROOT + b"\n"),
    "size_of_five_thousand_digits": resigned(b"n\n" + b"1" * 3000 + b"\n" + ROOT + b"\n"),
    "root_of_31_bytes": resigned(b"n\n12\n" + base64.b64encode(bytes(31)) + b"\n"),
    "root_of_33_bytes": resigned(b"n\n12\n" + base64.b64encode(bytes(33)) + b"\n"),
    "root_without_padding": resigned(b"n\n12\n" + ROOT.rstrip(b"=") + b"\n"),
    "root_with_loose_bits": resigned(b"n\n12\n" + ROOT[:-2] + b"9=\n"),
    "root_of_another_alphabet": resigned(b"n\n12\n" + base64.urlsafe_b64encode(b"\xff" * 32) + b"\n"),
    "root_not_ascii": resigned("n\n12\né\n".encode()),
    "hyphen_for_the_dash": line(4, lambda text: text.replace("—".encode(), b"-")),
    "another_name": line(4, lambda _: signed_line(ID + SIGNATURE, "other.example/key")),
    "another_key_id": line(4, lambda _: signed_line(bytes(4) + SIGNATURE)),
    "key_id_alone": line(4, lambda _: signed_line(ID)),
    "signature_of_63_bytes": line(4, lambda _: signed_line(ID + SIGNATURE[:-1])),
    "signature_of_65_bytes": line(4, lambda _: signed_line(ID + SIGNATURE + b"\0")),
    "signature_without_padding": line(4, lambda text: text.rstrip(b"=")),
    "signature_with_loose_bits": line(4, with_loose_bits),
    "signature_shifted_by_the_group_order": line(4, lambda _: signed_line(ID + shifted_by_the_group_order(SIGNATURE))),
    "signature_of_another_text": line(4, lambda _: signed_line(ID + PROVER.sign(b"other"))),
    "signed_by_a_stranger": note.sign(HEAD, STRANGER),
    "signed_by_a_stranger_of_the_same_name": note.sign(HEAD, FakeSigner(PROVER.name, STRANGER.seed)),
    "too_long": resigned(b"n" * MAX_NOTE + b"\n12\n" + ROOT + b"\n"),
}
OTHER_REASONS = {
    "another_name": Reason.KEY,
    "another_key_id": Reason.KEY,
    "signature_shifted_by_the_group_order": Reason.SIGNATURE,
    "signature_of_another_text": Reason.SIGNATURE,
    "signed_by_a_stranger": Reason.KEY,
    "signed_by_a_stranger_of_the_same_name": Reason.KEY,
    "too_long": Reason.LIMIT,
}
KEY = str(PROVER.key)
MATERIAL = KEY.split("+", 2)[2]
BAD_KEYS = {
    "empty": "",
    "no_parts": "prover.example/key",
    "two_parts": "prover.example/key+00000000",
    "another_hash": KEY.replace(ID.hex(), "00000000"),
    "hash_in_capitals": KEY.replace(ID.hex(), ID.hex().upper()),
    "another_name": "x" + KEY,
    "no_name": KEY.removeprefix(PROVER.name),
    "space_before": " " + KEY,
    "space_in_the_name": str(VerifierKey("a b", PROVER.key.public)),
    "plus_in_the_name": str(VerifierKey("a+b", PROVER.key.public)),
    "name_not_ascii": str(VerifierKey("é", PROVER.key.public)),
    "key_of_31_bytes": str(VerifierKey("name", bytes(31))),
    "key_of_33_bytes": str(VerifierKey("name", bytes(33))),
    "no_padding_bits": KEY[:-1] + ("5" if KEY[-1] != "5" else "6"),
    "another_algorithm": KEY.replace(MATERIAL, base64.b64encode(b"\x02" + PROVER.key.public).decode()),
    "carriage_return": KEY + "\r",
}
PRIME = (1 << 255) - 19
WEAK_POINTS = {
    "neutral": 1,
    "order_2": PRIME - 1,
    "order_4": 0,
    "order_8": 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    "order_8_negative": 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    "order_4_unreduced": PRIME,
    "neutral_unreduced": PRIME + 1,
    "generator_unreduced": PRIME + 3,
}


@pytest.mark.parametrize("published", [C2SP, GO], ids=["C2SP", "Go"])
def test_published_signatures_verify(published: tuple[str, str, str]) -> None:
    text, key, signature = published
    blob = base64.b64decode(signature)
    verifier = VerifierKey.parse(key)
    assert verifier.id == blob[:4]
    verifier.check(text.encode(), blob[4:], "published")
    with pytest.raises(SignatureError):
        verifier.check(text.encode() + b" ", blob[4:], "published")


def test_a_published_checkpoint_opens() -> None:
    head = note.open_note(GO_SUM_CHECKPOINT.encode(), VerifierKey.parse(GO_SUM_KEY))
    assert (head.origin, head.size) == ("go.sum database tree", 20852163)
    assert head.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"


@given(st.text(PRINTABLE, min_size=1, max_size=20), st.integers(0, 2**64 - 1), digests, signers)
def test_open_is_the_inverse_of_sign(origin: str, size: int, root: bytes, signer: FakeSigner) -> None:
    head = Head(origin, size, root)
    assert note.open_note(note.sign(head, signer), signer.key) == head


@given(signers)
def test_parse_is_the_inverse_of_str(signer: FakeSigner) -> None:
    assert VerifierKey.parse(str(signer.key)) == signer.key
    assert VerifierKey.parse(str(signer.key) + "\n") == signer.key


def test_an_origin_names_signer_and_run() -> None:
    assert note.origin(PROVER.key, bytes(15) + b"\x0a") == "prover.example/key/0000000000000000000000000000000a"


def test_the_imprint_covers_text_and_signature() -> None:
    assert note.imprint(SIGNED) == sha256(SIGNED).digest()


def test_every_flipped_bit_is_refused() -> None:
    for place in range(8 * len(SIGNED)):
        flipped = bytearray(SIGNED)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(FormatError):
            note.open_note(bytes(flipped), PROVER.key)


def test_every_truncation_is_refused() -> None:
    for size in range(len(SIGNED)):
        with pytest.raises(FormatError):
            note.open_note(SIGNED[:size], PROVER.key)


@pytest.mark.parametrize(("fault", "hostile"), HOSTILE.items(), ids=HOSTILE)
def test_hostile_notes_are_refused(fault: str, hostile: bytes) -> None:
    assert hostile != SIGNED
    with pytest.raises(FormatError) as refusal:
        note.open_note(hostile, PROVER.key)
    assert refusal.value.reason == OTHER_REASONS.get(fault, Reason.NOTE)


@pytest.mark.parametrize("signer", [STRANGER, FakeSigner(PROVER.name, STRANGER.seed)], ids=["name", "bytes"])
def test_another_key_is_a_signature_error(signer: FakeSigner) -> None:
    with pytest.raises(SignatureError) as refusal:
        note.open_note(note.sign(HEAD, signer), PROVER.key)
    assert refusal.value.reason == Reason.KEY


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        note.open_note(data, PROVER.key)


@pytest.mark.parametrize("text", BAD_KEYS.values(), ids=BAD_KEYS)
def test_bad_verifier_keys_are_refused(text: str) -> None:
    with pytest.raises(FormatError) as refusal:
        VerifierKey.parse(text)
    assert refusal.value.reason == Reason.KEY


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", WEAK_POINTS.values(), ids=WEAK_POINTS)
def test_keys_that_bind_nobody_are_refused(y: int, sign: int) -> None:
    key = VerifierKey("name", (y | sign << 255).to_bytes(32, "little"))
    with pytest.raises(FormatError) as refusal:
        VerifierKey.parse(str(key))
    assert refusal.value.reason == Reason.KEY


def test_under_the_neutral_key_one_signature_fits_every_text() -> None:
    neutral = VerifierKey("name", (1).to_bytes(32, "little"))
    for text in (b"any", b"text"):  # which is why `parse` refuses that key
        neutral.check(text, neutral.public + bytes(32), "forged")


@given(st.lists(st.integers(1, 99), max_size=5))
def test_split_is_the_inverse_of_joining(sizes: list[int]) -> None:
    notes = [note.sign(Head("origin", size, bytes(32)), PROVER) for size in sizes]
    assert list(note.split(b"".join(notes))) == notes


@pytest.mark.parametrize("data", [b"\n", SIGNED[:-1], SIGNED + b"\n", SIGNED + b"x", SIGNED + SIGNED[:-1], b"x"])
def test_split_refuses_what_is_not_whole_notes(data: bytes) -> None:
    with pytest.raises(FormatError) as refusal:
        list(note.split(data))
    assert refusal.value.reason == Reason.NOTE
