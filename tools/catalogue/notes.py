"""Make heads and verifier lines, good and with one fault; what a head says is signed honestly, where it can be."""

import base64
from collections.abc import Callable

from polarchive.errors import Reason
from polarchive.format import note
from polarchive.format.note import Head, VerifierKey
from tests.simulator import PROVER, STRANGER, FakeSigner
from tools.catalogue import OK, Made, vector

HEAD = Head(note.origin(PROVER.key, bytes(range(16))), 12, bytes(range(32)))
SIGNED = note.sign(HEAD, PROVER)
SIGNATURE = PROVER.sign(HEAD.text)
ROOT = base64.b64encode(HEAD.root)
KEY = str(PROVER.key)
ORDER = (1 << 252) + 27742317777372353535851937790883648493  # of the Ed25519 base point
PRIME = (1 << 255) - 19
SPEC = "Heads"


def of_prover(signed: bytes) -> Made:
    """Return a note and the verifier line of the key that should have signed it."""
    return signed, {"key": KEY}


def resigned(text: bytes) -> Made:
    """Return a note of any text under a signature that is good."""
    return of_prover(text + b"\n" + signature_line(PROVER.key.id + PROVER.sign(text)))


def signature_line(blob: bytes, name: str = PROVER.name) -> bytes:
    """Return a signature line of any bytes."""
    return f"{note.DASH}{name} {base64.b64encode(blob).decode()}\n".encode()


def signed_by(blob: bytes, name: str = PROVER.name) -> Made:
    """Return the head under any signature line."""
    return of_prover(HEAD.text + b"\n" + signature_line(blob, name))


def line(index: int, change: Callable[[bytes], bytes]) -> Made:
    """Return the note with one of its lines changed."""
    lines = SIGNED.split(b"\n")
    lines[index] = change(lines[index])
    return of_prover(b"\n".join(lines))


@vector("note", OK, SPEC)
def honest() -> Made:
    """A head as a writer signs it."""
    return of_prover(SIGNED)


@vector("note", OK, SPEC)
def size_0() -> Made:
    """A head of the empty tree: a form that is right, of which no archive has use."""
    return of_prover(note.sign(Head(HEAD.origin, 0, bytes(32)), PROVER))


@vector("note", OK, SPEC)
def size_of_20_digits() -> Made:
    """A head of the size 2^64 - 1."""
    return of_prover(note.sign(Head(HEAD.origin, (1 << 64) - 1, HEAD.root), PROVER))


@vector("note", Reason.NOTE, SPEC)
def empty() -> Made:
    """No bytes."""
    return of_prover(b"")


@vector("note", Reason.NOTE, SPEC)
def without_a_signature() -> Made:
    """The text and an empty line."""
    return of_prover(HEAD.text + b"\n")


@vector("note", Reason.NOTE, SPEC)
def without_the_empty_line() -> Made:
    """The signature line follows the text at once."""
    return of_prover(SIGNED.replace(b"\n\n", b"\n"))


@vector("note", Reason.NOTE, SPEC)
def without_the_last_line_end() -> Made:
    """The signature line is not ended."""
    return of_prover(SIGNED[:-1])


@vector("note", Reason.NOTE, SPEC)
def with_another_line_end() -> Made:
    """An empty line follows."""
    return of_prover(SIGNED + b"\n")


@vector("note", Reason.NOTE, SPEC)
def signed_twice() -> Made:
    """The signature line stands there twice, as signed notes allow."""
    return of_prover(SIGNED + signature_line(PROVER.key.id + SIGNATURE))


@vector("note", Reason.NOTE, SPEC)
def signed_by_another_too() -> Made:
    """A signature line of another key follows, as signed notes allow."""
    return of_prover(SIGNED + note.sign(HEAD, STRANGER).split(b"\n")[4] + b"\n")


@vector("note", Reason.NOTE, SPEC)
def extension_line() -> Made:
    """A fourth line of text, as checkpoints allow."""
    return resigned(HEAD.text + b"extension\n")


@vector("note", Reason.NOTE, SPEC)
def carriage_returns() -> Made:
    """Lines end in CR LF."""
    return of_prover(SIGNED.replace(b"\n", b"\r\n"))


@vector("note", Reason.NOTE, SPEC)
def byte_order_mark() -> Made:
    """A byte order mark precedes the note, and is signed."""
    return resigned(b"\xef\xbb\xbf" + HEAD.text)


@vector("note", Reason.NOTE, SPEC)
def not_utf8() -> Made:
    """The origin has a byte that no UTF-8 has."""
    return resigned(b"\xff" + HEAD.text)


@vector("note", Reason.NOTE, SPEC)
def no_origin() -> Made:
    """The origin is empty."""
    return resigned(HEAD.text[len(HEAD.origin) :])


@vector("note", Reason.NOTE, SPEC)
def origin_not_ascii() -> Made:
    """The origin has a letter that is not ASCII."""
    return resigned("é".encode() + HEAD.text)


@vector("note", Reason.NOTE, SPEC)
def origin_with_a_control_character() -> Made:
    """The origin rings a bell."""
    return resigned(b"\x07" + HEAD.text)


def sized(size: str) -> Made:
    """Return a note whose second line is `size`."""
    return resigned(f"{HEAD.origin}\n{size}\n".encode() + ROOT + b"\n")


@vector("note", Reason.NOTE, SPEC)
def size_with_a_leading_zero() -> Made:
    """A size that begins with 0."""
    return sized("012")


@vector("note", Reason.NOTE, SPEC)
def size_empty() -> Made:
    """No size."""
    return sized("")


@vector("note", Reason.NOTE, SPEC)
def size_with_a_plus() -> Made:
    """A size with a sign."""
    return sized("+12")


@vector("note", Reason.NOTE, SPEC)
def size_below_zero() -> Made:
    """The size -12."""
    return sized("-12")


@vector("note", Reason.NOTE, SPEC)
def size_with_a_space() -> Made:
    """A space before the size."""
    return sized(" 12")


@vector("note", Reason.NOTE, SPEC)
def size_with_an_underscore() -> Made:
    """A size with a separator between its digits."""
    return sized("1_2")


@vector("note", Reason.NOTE, SPEC)
def size_in_arabic_digits() -> Made:
    """A size in other digits than 0 to 9."""
    return sized("١٢")


@vector("note", Reason.NOTE, SPEC)
def size_of_3000_digits() -> Made:
    """A size of 3,000 digits."""
    return sized("1" * 3000)


def rooted(root: bytes) -> Made:
    """Return a note whose third line is `root`."""
    return resigned(f"{HEAD.origin}\n12\n".encode() + root + b"\n")


@vector("note", Reason.NOTE, SPEC)
def root_of_31_bytes() -> Made:
    """A root of 31 bytes."""
    return rooted(base64.b64encode(bytes(31)))


@vector("note", Reason.NOTE, SPEC)
def root_of_33_bytes() -> Made:
    """A root of 33 bytes."""
    return rooted(base64.b64encode(bytes(33)))


@vector("note", Reason.NOTE, SPEC)
def root_empty() -> Made:
    """No root."""
    return rooted(b"")


@vector("note", Reason.NOTE, "Conventions")
def root_without_padding() -> Made:
    """A root in base64 without the padding at its end."""
    return rooted(ROOT.rstrip(b"="))


@vector("note", Reason.NOTE, "Conventions")
def root_with_loose_bits() -> Made:
    """A root in base64 whose last digit has bits that decode to nothing."""
    return rooted(ROOT[:-2] + b"9=")


@vector("note", Reason.NOTE, "Conventions")
def root_of_the_url_alphabet() -> Made:
    """A root in base64 of the alphabet for addresses."""
    return rooted(base64.urlsafe_b64encode(b"\xff" * 32))


@vector("note", Reason.NOTE, "Conventions")
def root_in_hex() -> Made:
    """A root in hex digits."""
    return rooted(HEAD.root.hex().encode())


@vector("note", Reason.NOTE, SPEC)
def hyphen_for_the_dash() -> Made:
    """The signature line begins with a hyphen."""
    return line(4, lambda text: text.replace("—".encode(), b"-"))


@vector("note", Reason.KEY, SPEC)
def another_key_name() -> Made:
    """The signature line names another key, with the right key id and signature."""
    return signed_by(PROVER.key.id + SIGNATURE, "other.example/key")


@vector("note", Reason.KEY, SPEC)
def another_key_id() -> Made:
    """The signature line has a key id of zeros."""
    return signed_by(bytes(4) + SIGNATURE)


@vector("note", Reason.KEY, SPEC)
def signed_by_a_stranger() -> Made:
    """Another key signed, under its own name."""
    return of_prover(note.sign(HEAD, STRANGER))


@vector("note", Reason.KEY, SPEC)
def signed_by_a_namesake() -> Made:
    """Another key signed, under the same name."""
    return of_prover(note.sign(HEAD, FakeSigner(PROVER.name, STRANGER.seed)))


@vector("note", Reason.NOTE, SPEC)
def key_id_alone() -> Made:
    """The signature line has no signature behind the key id."""
    return signed_by(PROVER.key.id)


@vector("note", Reason.NOTE, SPEC)
def signature_of_63_bytes() -> Made:
    """The signature lacks its last byte."""
    return signed_by(PROVER.key.id + SIGNATURE[:-1])


@vector("note", Reason.NOTE, SPEC)
def signature_of_72_bytes() -> Made:
    """A timestamp stands between key id and signature, as cosignatures have it."""
    return signed_by(PROVER.key.id + bytes(8) + SIGNATURE)


@vector("note", Reason.NOTE, "Conventions")
def signature_without_padding() -> Made:
    """The signature line in base64 without the padding at its end."""
    return line(4, lambda text: text.rstrip(b"="))


@vector("note", Reason.NOTE, "Conventions")
def signature_with_a_space() -> Made:
    """A space follows the signature line."""
    return line(4, lambda text: text + b" ")


@vector("note", Reason.SIGNATURE, SPEC)
def signature_of_another_text() -> Made:
    """The signature is of another text."""
    return signed_by(PROVER.key.id + PROVER.sign(b"another text\n"))


@vector("note", Reason.SIGNATURE, SPEC)
def signature_of_the_text_and_an_empty_line() -> Made:
    """The signature covers the empty line too."""
    return signed_by(PROVER.key.id + PROVER.sign(HEAD.text + b"\n"))


@vector("note", Reason.SIGNATURE, SPEC)
def signature_by_a_stranger_under_the_right_id() -> Made:
    """Another key signed, and the line names the right one."""
    return signed_by(PROVER.key.id + STRANGER.sign(HEAD.text))


@vector("note", Reason.SIGNATURE, SPEC)
def signature_plus_the_group_order() -> Made:
    """The second half of the signature is larger by the order of the group: RFC 8032 refuses it."""
    scalar = int.from_bytes(SIGNATURE[32:], "little") + ORDER
    return signed_by(PROVER.key.id + SIGNATURE[:32] + scalar.to_bytes(32, "little"))


@vector("note", Reason.SIGNATURE, SPEC)
def signature_of_zeros() -> Made:
    """The signature is 64 zero bytes."""
    return signed_by(PROVER.key.id + bytes(64))


@vector("note", Reason.SIGNATURE, SPEC)
def size_changed() -> Made:
    """The size was changed after signing."""
    return line(1, lambda text: b"13")


@vector("note", Reason.LIMIT, "Limits")
def too_long() -> Made:
    """A note of more than 4,096 bytes."""
    return resigned(b"n" * 4096 + b"\n12\n" + ROOT + b"\n")


@vector("verifier-key", OK, SPEC)
def honest_key() -> bytes:
    """A verifier line."""
    return KEY.encode()


@vector("verifier-key", OK, SPEC)
def published_by_c2sp() -> bytes:
    """The key of the example that the specification of signed notes shows."""
    return b"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"


@vector("verifier-key", Reason.KEY, SPEC)
def no_key() -> bytes:
    """No bytes."""
    return b""


@vector("verifier-key", Reason.KEY, SPEC)
def key_of_two_parts() -> bytes:
    """A verifier line without its public key."""
    return KEY.rpartition("+")[0].encode()


@vector("verifier-key", Reason.KEY, SPEC)
def key_id_of_another() -> bytes:
    """The key id is not that of name and public key."""
    return KEY.replace(PROVER.key.id.hex(), "00000000").encode()


@vector("verifier-key", Reason.KEY, SPEC)
def key_id_in_capitals() -> bytes:
    """The key id is in upper-case digits."""
    return KEY.replace(PROVER.key.id.hex(), PROVER.key.id.hex().upper()).encode()


@vector("verifier-key", Reason.KEY, SPEC)
def key_without_a_name() -> bytes:
    """The name is empty, and the key id is that of the empty name."""
    return str(VerifierKey("", PROVER.key.public)).encode()


@vector("verifier-key", Reason.KEY, SPEC)
def key_with_a_space_in_its_name() -> bytes:
    """The name has a space, and the key id fits."""
    return str(VerifierKey("a b", PROVER.key.public)).encode()


@vector("verifier-key", Reason.KEY, SPEC)
def key_with_a_plus_in_its_name() -> bytes:
    """The name has a plus, and the key id fits."""
    return str(VerifierKey("a+b", PROVER.key.public)).encode()


@vector("verifier-key", Reason.KEY, SPEC)
def key_of_a_name_not_ascii() -> bytes:
    """The name has a letter that is not ASCII, and the key id fits."""
    return str(VerifierKey("é", PROVER.key.public)).encode()


@vector("verifier-key", Reason.KEY, SPEC)
def key_of_31_bytes() -> bytes:
    """The public key has 31 bytes, and the key id fits."""
    return str(VerifierKey("name", bytes(range(31)))).encode()


@vector("verifier-key", Reason.KEY, SPEC)
def key_of_33_bytes() -> bytes:
    """The public key has 33 bytes, and the key id fits."""
    return str(VerifierKey("name", bytes(range(33)))).encode()


@vector("verifier-key", Reason.KEY, SPEC)
def key_of_another_algorithm() -> bytes:
    """The algorithm is 2 instead of 1."""
    material = base64.b64encode(b"\x02" + PROVER.key.public).decode()
    return f"{PROVER.name}+{PROVER.key.id.hex()}+{material}".encode()


@vector("verifier-key", Reason.KEY, "Conventions")
def key_not_base64() -> bytes:
    """The public key is not base64."""
    return KEY.replace("AV", "?V").encode() if "AV" in KEY else (KEY[:-1] + "?").encode()


@vector("verifier-key", Reason.KEY, "Conventions")
def key_with_a_character_more() -> bytes:
    """The base64 of the public key has a character more than it can have."""
    return (KEY + "A").encode()


@vector("verifier-key", Reason.KEY, SPEC)
def key_with_a_carriage_return() -> bytes:
    """A carriage return follows."""
    return (KEY + "\r").encode()


@vector("verifier-key", Reason.KEY, SPEC)
def key_with_a_space_before() -> bytes:
    """A space precedes, which is then part of the name."""
    return (" " + KEY).encode()


@vector("verifier-key", Reason.KEY, SPEC)
def key_of_order_1() -> bytes:
    """The public key is the neutral point, under which one signature fits every text."""
    return _point(1)


@vector("verifier-key", Reason.KEY, SPEC)
def key_of_order_2() -> bytes:
    """The public key is the point of order 2."""
    return _point(PRIME - 1)


@vector("verifier-key", Reason.KEY, SPEC)
def key_of_order_4() -> bytes:
    """The public key is a point of order 4."""
    return _point(0)


@vector("verifier-key", Reason.KEY, SPEC)
def key_of_order_8() -> bytes:
    """The public key is a point of order 8."""
    return _point(0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826)


@vector("verifier-key", Reason.KEY, SPEC)
def key_not_reduced() -> bytes:
    """The public key is another spelling of a point, with y = p + 3 for y = 3."""
    return _point(PRIME + 3)


def _point(y: int) -> bytes:
    return str(VerifierKey("name", y.to_bytes(32, "little"))).encode()
