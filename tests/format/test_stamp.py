"""Test stamps: every fault is refused for its reason, and what openssl makes or accepts is what the package does."""

import shutil
import subprocess
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import hypothesis.strategies as st
import pytest
from asn1crypto.core import Any, OctetString
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, load_der_x509_certificate, load_pem_x509_certificate
from hypothesis import given

from polarchive.errors import FormatError, Reason, StampError
from polarchive.format import stamp
from polarchive.format.certificate import signer_of
from polarchive.format.limits import MAX_STAMP
from polarchive.format.stamp import Stamp
from tests.authority import EPOCH, YEARS, Authority, hours
from tools.catalogue import OK, PLANS, Plan, stamps
from tools.catalogue.stamps import NOTE, OVER, TOP, TSA, der

CATALOGUE = [plan for plan in PLANS.values() if plan.kind == "stamp" and not plan.large]
READ = {Reason.LIMIT, Reason.STAMP, Reason.STAMP_REFUSED}
OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(not OPENSSL, reason="needs the openssl command")
EXTENSIONS = """\
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=critical,timeStamping
"""
CONFIGURATION = """\
[tsa]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1, millisecs:500, microsecs:100
clock_precision_digits = {digits}
ess_cert_id_alg = {ess}
{chain}
"""

# What the package refuses and `openssl ts -verify` takes, as SPEC.md says: it knows neither nonce nor policy unless it
# is given the request, takes any hash algorithm and any time, and reads what is not DER.
TAKEN_BY_OPENSSL = {
    "stamp-accuracy-of-136-bits",
    "stamp-accuracy-of-a-thousand-thousandths",
    "stamp-accuracy-of-ages",
    "stamp-answer-to-another-request",
    "stamp-answer-without-a-nonce",
    "stamp-byte-after",
    "stamp-certificate-by-md5",
    "stamp-certificate-with-a-twin",
    "stamp-granted-with-modifications",
    "stamp-imprint-by-sha-1",
    "stamp-imprint-by-sha-512",
    "stamp-imprint-by-sha-512-cut",
    "stamp-length-indefinite",
    "stamp-length-of-three-bytes",
    "stamp-policy-of-none",
    "stamp-time-in-the-year-9999",
}


def roots_of(plan: Plan) -> list[Certificate]:
    return [load_der_x509_certificate(b64decode(root)) for root in plan.vector().parameters["roots"].split()]


def checked(raw: bytes, over: bytes = OVER, root: Certificate = TSA.root) -> Stamp:
    found = stamp.read(raw)
    stamp.check(found, over, [root])
    return found


def openssl(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([OPENSSL or "openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("plan", CATALOGUE, ids=lambda plan: plan.name)
def test_a_fault_is_found_where_it_belongs(plan: Plan) -> None:
    made = plan.vector()
    if plan.expect in READ:
        with pytest.raises(FormatError) as refusal:
            stamp.read(made.body, "here")
        assert (refusal.value.reason, refusal.value.place) == (plan.expect, "here")
        return
    found, over = stamp.read(made.body), bytes.fromhex(made.parameters["over"])
    policies, nonce = made.parameters.get("policies", "").split(), made.parameters.get("nonce")
    reason, held = OK, roots_of(plan)
    try:
        stamp.check(found, over, held, policies=policies, nonce=int(nonce) if nonce else None, place="here")
    except StampError as error:
        reason = error.reason
        assert error.place == "here" and str(error).isprintable() and len(str(error)) < 300
    assert reason == plan.expect and held == roots_of(plan)


def test_every_reason_is_in_the_catalogue() -> None:
    assert {plan.expect for plan in CATALOGUE} == {OK, *(reason for reason in Reason if reason.startswith("stamp"))}


@needs_openssl
@pytest.mark.parametrize("plan", CATALOGUE, ids=lambda plan: plan.name)
def test_openssl_takes_what_the_package_takes(plan: Plan, tmp_path: Path) -> None:
    made = plan.vector()
    (tmp_path / "stamp.tsr").write_bytes(made.body)
    (tmp_path / "roots.pem").write_bytes(b"".join(root.public_bytes(Encoding.PEM) for root in roots_of(plan)))
    at = str(int(_time_of(made.body).timestamp()))
    given = ["-in", "stamp.tsr", "-digest", made.parameters["over"], "-CAfile", "roots.pem", "-attime", at]
    taken = openssl("ts", "-verify", *given, folder=tmp_path).returncode == 0
    assert taken == (plan.expect == OK or plan.name in TAKEN_BY_OPENSSL)


def _time_of(raw: bytes) -> datetime:
    try:
        return stamp.read(raw).time
    except FormatError:
        return EPOCH


@pytest.fixture(scope="module", params=["ec", "rsa"])
def authority(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder of an authority that openssl keeps."""
    folder = tmp_path_factory.mktemp("authority")
    new = ["-newkey", *(["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if request.param == "ec" else ["rsa:2048"])]
    constraints = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    (folder / "tsa.ext").write_text(EXTENSIONS)
    (folder / "serial").write_text("01\n")
    by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-sha256", "-extfile", "tsa.ext"]
    for arguments in (
        ["req", "-x509", *new, "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=root", *constraints],
        ["req", "-new", *new, "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=authority"],
        ["x509", "-req", "-in", "tsa.csr", *by, "-out", "tsa.pem"],
    ):
        assert openssl(*arguments, folder=folder).returncode == 0
    return folder


@needs_openssl
@pytest.mark.parametrize("chain", ["", "certs = ca.pem"], ids=["bare", "chain"])
@pytest.mark.parametrize("ess", ["sha1", "sha256", "sha512"])
def test_tokens_by_openssl_are_accepted(authority: Path, ess: str, chain: str, tmp_path: Path) -> None:
    (authority / "ts.conf").write_text(CONFIGURATION.format(ess=ess, chain=chain, digits=6))
    asked, nonce = stamp.request(NOTE)
    (tmp_path / "request.tsq").write_bytes(asked)
    reply = ["-config", "ts.conf", "-section", "tsa", "-queryfile", tmp_path / "request.tsq"]
    done = openssl("ts", "-reply", *reply, "-out", tmp_path / "stamp.tsr", folder=authority)
    assert done.returncode == 0, done.stderr
    found = stamp.read((tmp_path / "stamp.tsr").read_bytes())
    roots = [load_pem_x509_certificate((authority / "ca.pem").read_bytes())]
    stamp.check(found, OVER, roots, policies=["1.2.3.4.1"], nonce=nonce)
    assert (found.nonce, found.accuracy) == (nonce, timedelta(seconds=1, microseconds=500100))
    assert abs(found.time - datetime.now(UTC)) < timedelta(minutes=5)
    assert signer_of(found.raw) == load_pem_x509_certificate((authority / "tsa.pem").read_bytes())


@needs_openssl
def test_a_refusal_by_openssl_is_one(authority: Path, tmp_path: Path) -> None:
    (authority / "ts.conf").write_text(CONFIGURATION.format(ess="sha256", chain="", digits=0))
    asked = openssl("ts", "-query", "-digest", "00" * 20, "-sha1", "-out", tmp_path / "request.tsq", folder=tmp_path)
    assert asked.returncode == 0
    reply = ["-config", "ts.conf", "-section", "tsa", "-queryfile", tmp_path / "request.tsq"]
    openssl("ts", "-reply", *reply, "-out", tmp_path / "stamp.tsr", folder=authority)
    with pytest.raises(StampError, match="not supported") as refusal:
        stamp.read((tmp_path / "stamp.tsr").read_bytes())
    assert refusal.value.reason == Reason.STAMP_REFUSED


def flips(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield every response that differs in one bit, and where it does."""
    for place in range(len(raw)):
        for bit in range(8):
            yield place, raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :]


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_flipped_bit_is_refused_or_changes_nothing_that_counts() -> None:
    honest, places, reasons = checked(raw := TSA.over(NOTE)), set(), Counter[str]()
    for place, other in flips(raw):
        try:
            found = checked(other)
        except FormatError as error:
            reasons[error.reason] += 1
        else:
            places.add(place)
            assert replace(found, raw=raw, response=honest.response) == honest and found.digest != honest.digest
    assert 1 <= len(places) <= 13 and {*reasons} >= {Reason.STAMP, Reason.STAMP_IMPRINT, Reason.STAMP_SIGNATURE}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_flipped_bit_of_a_chain_changes_nothing_that_counts() -> None:
    honest = checked(raw := replace(TSA, chain=True).over(NOTE))
    for _, other in flips(raw):
        try:
            found = checked(other)
        except FormatError:
            continue
        assert replace(found, raw=raw, response=honest.response) == honest


times = st.datetimes(datetime(1960, 1, 1), datetime(2049, 1, 1)).map(lambda found: found.replace(tzinfo=UTC))
accuracies = st.none() | st.integers(0, 10**9).map(lambda found: found / 10**6) | st.integers(0, 10**9)
LONG = Authority("long", begins=datetime(1950, 1, 1, tzinfo=UTC), ends=datetime(2049, 12, 31, tzinfo=UTC))


@given(st.binary(min_size=1, max_size=300), times, accuracies, st.booleans())
def test_what_was_asked_for_is_what_is_answered(message: bytes, at: datetime, accuracy: float, chain: bool) -> None:
    asked, nonce = stamp.request(message)
    found = stamp.read(replace(LONG, accuracy=accuracy, chain=chain).at(at).answer(asked))
    assert (found.time, found.nonce, found.imprint) == (at, nonce, sha256(message).digest())
    assert found.accuracy == (None if accuracy is None else timedelta(seconds=accuracy))
    stamp.require_over(found, sha256(message).digest())
    within = abs(at - EPOCH) < YEARS - timedelta(days=1)  # in which the root is valid
    reasons = [OK if within else Reason.STAMP_EXPIRED]
    try:
        stamp.check(found, sha256(message).digest(), [LONG.root], nonce=nonce)
    except StampError as error:
        reasons.append(error.reason)
    assert reasons[-1] == reasons[0]


@given(st.binary(max_size=2000))
def test_no_other_bytes_are_a_stamp(data: bytes) -> None:
    with pytest.raises(StampError):
        stamp.read(data)


@pytest.mark.parametrize("year", [1, 2, 1949, 1950, 1969, 1970, 2038, 2049, 2050, 2106, 9998, 9999])
@pytest.mark.parametrize("day", [(1, 1), (12, 31)], ids=["first", "last"])
def test_times_at_the_ends_of_calendars_are_read_or_refused(year: int, day: tuple[int, int]) -> None:
    at = datetime(year, *day, tzinfo=UTC)
    try:
        found = stamp.read(TSA.at(at).over(NOTE))
    except StampError as error:
        assert error.reason == Reason.STAMP and year in (1, 2, 1949, 9999)
        return
    assert found.time == at and found.time + timedelta(days=300) > at
    with pytest.raises(StampError) as refusal:
        stamp.check(found, OVER, [TSA.root])
    assert refusal.value.reason == Reason.STAMP_EXPIRED


def test_a_judge_without_roots_believes_nobody() -> None:
    with pytest.raises(StampError) as refusal:
        stamp.check(stamp.read(TSA.over(NOTE)), OVER, [])
    assert refusal.value.reason == Reason.STAMP_ROOT


def test_any_of_several_roots_will_do() -> None:
    roots = [TOP.root, TSA.root]
    stamp.check(stamp.read(TSA.over(NOTE)), OVER, roots)
    assert roots == [TOP.root, TSA.root]


def test_what_others_wrote_is_told_in_one_short_line() -> None:
    long = replace(TSA, policy="1.2." + ".".join(["3"] * 5000))
    with pytest.raises(StampError) as refusal:
        stamp.check(stamp.read(long.over(NOTE)), OVER, [TSA.root], policies=["1.2.3.4.1"])
    assert len(str(refusal.value)) < 300
    with pytest.raises(StampError) as refusal:
        stamp.read(TSA.stamp(OVER, None, "rejection", "no\n\x1b[2J\u202e" * 999))
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 300


def odd(certificate: bytes, serial: int) -> bytes:
    """Return a certificate of a version that there is not, and of another serial number."""
    found = certificate.replace(bytes.fromhex("a003020102020102"), bytes.fromhex("a0030201050201") + bytes([serial]), 1)
    assert found != certificate
    return found


def test_a_malformed_certificate_beside_the_authority_s_is_no_other_error() -> None:
    beside = replace(TSA, certificates=lambda own: sorted([*own, odd(own[0], 3)])).over(NOTE)
    with pytest.raises(StampError):
        stamp.check(stamp.read(beside), OVER, [TSA.root])


def test_a_malformed_certificate_of_the_authority_is_no_other_error() -> None:
    with pytest.raises(StampError) as refusal:
        stamp.check(stamp.read(stamps.under(odd(der(TSA.certificate), 2))), OVER, [TSA.root])
    assert refusal.value.reason == Reason.STAMP_SIGNATURE


@pytest.mark.parametrize("chain", [False, True])
def test_the_certificate_that_signed_is_the_one_that_is_covered(chain: bool) -> None:
    assert signer_of(replace(TSA, chain=chain).over(NOTE)) == TSA.certificate


@pytest.mark.parametrize("name", ["certificate_exchanged", "certificate_with_a_twin", "no_certificates"])
def test_no_other_certificate_is_taken_for_the_one_that_signed(name: str) -> None:
    raw, _ = getattr(stamps, name)()
    with pytest.raises(StampError) as refusal:
        signer_of(raw, "here")
    assert (refusal.value.reason, refusal.value.place) == (Reason.STAMP_SIGNATURE, "here")


def test_sorting_certificates_leaves_all_else_as_it_is() -> None:
    """Where the same bytes stand elsewhere too, it is not done: who would say which ones are meant?"""
    raw = replace(TSA, chain=True).over(NOTE)
    assert stamp.read(raw).raw == raw
    sent = b"".join(sorted([der(TSA.certificate), der(TSA.root)], reverse=True))
    assert raw.count(sent) == 1
    twice = replace(TSA, attributes=stamps.attribute("1.2.3", Any(OctetString(sent))))
    assert checked(twice.over(NOTE)).time == EPOCH
    with pytest.raises(StampError) as refusal:
        stamp.read(replace(twice, chain=True).over(NOTE))
    assert refusal.value.reason == Reason.STAMP


@pytest.mark.parametrize("chain", [False, True])
def test_a_stamp_is_read_fast(chain: bool) -> None:
    """A codec that writes all of a token anew takes a quarter of a second."""
    raw = replace(TSA, chain=chain).over(NOTE)
    assert min(_seconds(raw) for _ in range(5)) < 0.02


def _seconds(raw: bytes) -> float:
    start = time.perf_counter()
    stamp.read(raw)
    return time.perf_counter() - start


def test_a_stamp_of_the_greatest_size_is_read_and_no_larger_one() -> None:
    rest = len(TSA.stamp(OVER, None, said="x" * 60000)) - 60000
    assert checked(TSA.stamp(OVER, None, said="x" * (MAX_STAMP - rest))).time == EPOCH
    with pytest.raises(FormatError) as refusal:
        stamp.read(TSA.stamp(OVER, None, said="x" * (MAX_STAMP - rest + 1)))
    assert refusal.value.reason == Reason.LIMIT


def test_what_is_stamped_is_the_note_and_then_all_before() -> None:
    assert stamp.covered(b"note") == b"note"
    assert stamp.covered(b"note", [b"a", b"bc"]) == (
        b"polarchive/v1/renewal\0" + bytes(7) + b"\4note" + bytes(7) + b"\1a" + bytes(7) + b"\2bc"
    )


def test_the_same_authority_gives_the_same_bytes() -> None:
    assert Authority("a").over(NOTE) == Authority("a").over(NOTE) != Authority("b").over(NOTE)
    assert Authority("a").at(hours(1)).root == Authority("a").root
