"""Test cosignatures: published ones verify, and no byte of a known witness's line can be other than as signed."""

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import hypothesis.strategies as st
import pytest
from hypothesis import given

from polarchive.errors import FormatError, Reason, SignatureError
from polarchive.format import cosignature, note
from polarchive.format.cosignature import Cosigned, WitnessKey
from polarchive.format.limits import MAX_COSIGNATURES
from polarchive.format.note import DASH, Head, SignatureLine, VerifierKey
from tests.format.strategies import PRINTABLE, digests, signers
from tests.simulator import PROVER, STRANGER, FakeSigner
from tests.witness import FIRST, NOON, SECOND, key_of

# A head of a public log, as four public witnesses cosigned it: the log signed it in two ways that are not ours.
PUBLISHED_TEXT = b"""\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=
"""
PUBLISHED_LINES = (
    (
        "arche2025h1.staging.ct.transparency.dev",
        "zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI"
        "4kJXFbon5Ch9MNL5zRNZ55lvGt0=",
    ),
    (
        "arche2025h1.staging.ct.transparency.dev",
        "ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=",
    ),
    (
        "transparency.dev/DEV:witness-little-garden",
        "2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==",
    ),
    (
        "witness1.smartit.nu/witness1",
        "pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==",
    ),
    (
        "remora.n621.de",
        "2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==",
    ),
    (
        "witness.stagemole.eu",
        "Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==",
    ),
)
PUBLISHED = "".join(f"{DASH}{name} {blob}\n" for name, blob in PUBLISHED_LINES).encode()
PUBLISHED_KEYS = (
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
)
# The line of the specification's own example. Whose key that is was never published, so that it cannot be verified.
SPECIFIED = (
    f"{DASH}witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+"
    "mbIUBkBIfZ+qnA=="
    "\n"
)

HEAD = Head("prover.example/run", 12, bytes(range(32)))
TEXT = HEAD.text
LINE = cosignature.cosign(TEXT, FIRST, NOON)
KNOWN = (key_of(FIRST), key_of(SECOND))
seconds = st.integers(0, 253402300799)  # to the end of the year 9999


def time_of(count: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=count)


def line(blob: bytes, name: str = FIRST.name) -> bytes:
    return f"{DASH}{name} {base64.b64encode(blob).decode()}\n".encode()


def signed(count: int, message: bytes) -> bytes:
    """Return the first witness's line with any time in it and any message signed."""
    return line(KNOWN[0].id + count.to_bytes(8, "big") + FIRST.sign(message))


BLOB = base64.b64decode(LINE.split()[-1])
NOON_LINE = f"time {int(NOON.timestamp())}\n".encode()
MALFORMED = {
    "no_line_end": LINE[:-1],
    "an_empty_line": LINE + b"\n",
    "carriage_return": LINE.replace(b"\n", b"\r\n"),
    "hyphen_for_the_dash": LINE.replace("—".encode(), b"-"),
    "no_dash": LINE.replace("— ".encode(), b""),
    "space_before": b" " + LINE,
    "two_spaces": LINE.replace(b"/w1 ", b"/w1  "),
    "byte_order_mark": b"\xef\xbb\xbf" + LINE,
    "no_name": LINE.replace(FIRST.name.encode(), b""),
    "name_not_ascii": LINE.replace(b"/w1", "/é".encode()),
    "name_not_utf8": LINE.replace(b"/w1", b"/\xff"),
    "name_with_a_plus": LINE.replace(b"/w1", b"/+"),
    "name_alone": f"{DASH}{FIRST.name}\n".encode(),
    "not_base64": LINE.replace(b"==", b"!="),
    "base64_without_padding": LINE.replace(b"==", b""),
    "key_id_alone": line(BLOB[:4]),
    "three_bytes": line(BLOB[:3]),
    "a_note": note.sign(HEAD, PROVER),
    "an_empty_line_of_a_stranger": cosignature.cosign(TEXT, STRANGER, NOON) + f"{DASH}x \n".encode(),
    "no_time": line(BLOB[:4] + BLOB[12:]),
    "signature_of_63_bytes": line(BLOB[:-1]),
    "signature_of_65_bytes": line(BLOB + b"\0"),
    "time_after_the_calendar": signed(253402300800, b"cosignature/v1\ntime 253402300800\n" + TEXT),
    "time_of_2_to_the_63": signed(1 << 63, b"cosignature/v1\ntime 9223372036854775808\n" + TEXT),
}
UNVERIFIED = {
    "another_head": cosignature.cosign(Head(HEAD.origin, 13, HEAD.root).text, FIRST, NOON),
    "another_time": line(BLOB[:11] + bytes([BLOB[11] ^ 1]) + BLOB[12:]),
    "signed_by_a_stranger": line(BLOB[:12] + STRANGER.sign(b"cosignature/v1\n" + NOON_LINE + TEXT)),
    "signed_as_a_note_is": signed(int(NOON.timestamp()), TEXT),
    "signed_with_the_note": signed(int(NOON.timestamp()), b"cosignature/v1\n" + NOON_LINE + note.sign(HEAD, PROVER)),
    "signed_without_a_version": signed(int(NOON.timestamp()), NOON_LINE + TEXT),
    "time_with_a_leading_zero": signed(5, b"cosignature/v1\ntime 05\n" + TEXT),
    "zeros": line(BLOB[:12] + bytes(64)),
}


def test_published_cosignatures_verify() -> None:
    keys = [WitnessKey.parse(key) for key in PUBLISHED_KEYS]
    time = datetime(2026, 5, 23, 21, 50, 24, tzinfo=UTC)
    assert cosignature.read(PUBLISHED, PUBLISHED_TEXT, keys) == tuple(Cosigned(key, time) for key in keys)


@pytest.mark.parametrize("key", PUBLISHED_KEYS)
def test_published_cosignatures_cover_the_head(key: str) -> None:
    with pytest.raises(SignatureError):
        cosignature.read(PUBLISHED, PUBLISHED_TEXT.replace(b"532", b"533"), [WitnessKey.parse(key)])


def test_the_line_that_the_specification_shows_is_well_formed() -> None:
    (found,) = cosignature.lines(SPECIFIED.encode())
    assert (found.name, found.id.hex()) == ("witness.example.com/w1", "8d66cf3f")
    assert int.from_bytes(found.signature[:8], "big") == 1679315147 and len(found.signature) == 72


@given(st.text(PRINTABLE, min_size=1, max_size=20), st.integers(0, 2**64 - 1), digests, signers, seconds)
def test_read_is_the_inverse_of_cosign(origin: str, size: int, root: bytes, signer: FakeSigner, count: int) -> None:
    text, key = Head(origin, size, root).text, key_of(signer)
    made = cosignature.cosign(text, signer, time_of(count))
    assert cosignature.read(made, text, [key]) == (Cosigned(key, time_of(count)),)


@given(signers)
def test_parse_is_the_inverse_of_str(signer: FakeSigner) -> None:
    key = key_of(signer)
    assert WitnessKey.parse(str(key)) == key and type(WitnessKey.parse(str(key))) is WitnessKey


def test_what_is_signed_is_what_the_specification_says() -> None:
    assert base64.b64decode(LINE.split()[-1]) == (
        key_of(FIRST).id + int(NOON.timestamp()).to_bytes(8, "big") + FIRST.sign(b"cosignature/v1\n" + NOON_LINE + TEXT)
    )


def test_a_witness_is_no_prover_nor_a_prover_a_witness() -> None:
    witness, prover = key_of(FIRST), FIRST.key
    assert witness != prover and witness.id != prover.id
    for line_of_another, kind in ((str(prover), WitnessKey), (str(witness), VerifierKey)):
        with pytest.raises(FormatError) as refusal:
            kind.parse(line_of_another)
        assert refusal.value.reason == Reason.KEY


def test_a_fraction_of_a_second_is_dropped_and_zones_are_one() -> None:
    late = NOON.astimezone(timezone(timedelta(hours=5))) + timedelta(microseconds=999_999)
    assert cosignature.cosign(TEXT, FIRST, late) == LINE


def test_no_lines_are_no_cosignatures() -> None:
    assert cosignature.read(b"", TEXT, KNOWN) == ()


def test_strangers_are_ignored() -> None:
    lines = cosignature.cosign(TEXT, STRANGER, NOON) + PUBLISHED + LINE
    assert [each.witness for each in cosignature.read(lines, TEXT, KNOWN)] == [key_of(FIRST)]
    assert cosignature.read(lines, TEXT, []) == ()


def test_a_namesake_of_a_witness_is_a_stranger() -> None:
    namesake = FakeSigner(FIRST.name, STRANGER.seed)
    assert cosignature.read(cosignature.cosign(TEXT, namesake, NOON), TEXT, KNOWN) == ()


def test_an_iterator_of_known_witnesses_serves_for_every_line() -> None:
    lines = LINE + cosignature.cosign(TEXT, SECOND, NOON)
    assert len(cosignature.read(lines, TEXT, iter(KNOWN))) == 2


def test_the_earliest_comes_first() -> None:
    lines = LINE + cosignature.cosign(TEXT, SECOND, NOON - timedelta(hours=1))
    assert [each.witness for each in cosignature.read(lines, TEXT, KNOWN)] == [key_of(SECOND), key_of(FIRST)]


def test_a_witness_that_cosigned_twice_counts_once_from_the_first_time() -> None:
    lines = cosignature.cosign(TEXT, FIRST, NOON + timedelta(hours=1)) + LINE + LINE
    assert cosignature.read(lines, TEXT, KNOWN) == (Cosigned(key_of(FIRST), NOON),)


def test_a_second_key_of_a_witness_adds_nothing() -> None:
    other = FakeSigner(FIRST.name, SECOND.seed)
    lines = LINE + cosignature.cosign(TEXT, other, NOON)
    assert len(cosignature.read(lines, TEXT, [key_of(FIRST), key_of(other)])) == 1


def test_a_key_under_two_names_is_one_witness() -> None:
    """What a witness signs does not say its name: who has a line under one name can write it under the other."""
    alias = FakeSigner("alias.example/w9", FIRST.seed)
    relabelled = line(key_of(alias).id + BLOB[4:], alias.name)
    assert cosignature.read(relabelled, TEXT, [key_of(alias)])
    assert len(cosignature.read(LINE + relabelled, TEXT, [key_of(FIRST), key_of(alias)])) == 1


@pytest.mark.parametrize(("fault", "data"), MALFORMED.items(), ids=MALFORMED)
def test_malformed_lines_are_refused(fault: str, data: bytes) -> None:
    with pytest.raises(FormatError) as refusal:
        cosignature.read(data, TEXT, KNOWN, "member")
    assert refusal.value.reason == Reason.COSIGNATURE and refusal.value.place == "member"


@pytest.mark.parametrize(("fault", "data"), UNVERIFIED.items(), ids=UNVERIFIED)
def test_lines_of_a_known_witness_must_verify(fault: str, data: bytes) -> None:
    with pytest.raises(SignatureError) as refusal:
        cosignature.read(LINE + data, TEXT, KNOWN)
    assert refusal.value.reason == Reason.SIGNATURE
    assert cosignature.read(data, TEXT, [key_of(SECOND)]) == ()


def test_no_flipped_bit_goes_unseen() -> None:
    for place in range(8 * len(LINE)):
        flipped = bytearray(LINE)
        flipped[place // 8] ^= 1 << place % 8
        with suppress(FormatError):  # else name or key id are somebody else's
            assert cosignature.read(bytes(flipped), TEXT, KNOWN) == ()


def test_more_than_the_limit_is_refused() -> None:
    many = LINE * (MAX_COSIGNATURES // len(LINE))
    assert len(cosignature.read(many, TEXT, KNOWN)) == 1
    with pytest.raises(FormatError) as refusal:
        cosignature.read(many + LINE, TEXT, KNOWN)
    assert refusal.value.reason == Reason.LIMIT


def test_lines_of_other_algorithms_are_somebody_elses() -> None:
    longer = str(SignatureLine("pq.example", bytes(4), bytes(2428))) + "\n"
    assert cosignature.read(longer.encode() + LINE, TEXT, KNOWN) == (Cosigned(key_of(FIRST), NOON),)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_random_bytes_are_no_cosignature(data: bytes) -> None:
    try:
        assert cosignature.read(data, TEXT, KNOWN) == ()
    except FormatError as refusal:
        assert refusal.reason == Reason.COSIGNATURE
