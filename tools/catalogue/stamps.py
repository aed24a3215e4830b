"""Make stamps, honest and with single faults, each with what a judge who holds certain roots must say of it.

And archives with stamps, which a reader accepts whatever authority they are by, if they are over what they should be.
"""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import new, sha1, sha256, sha512
from typing import Any

from asn1crypto import cms, core, tsp
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate
from cryptography.x509.oid import ExtendedKeyUsageOID

from polarchive.errors import Reason
from polarchive.format import container
from tests.authority import EPOCH, YEARS, Authority, certified, hours, key_of
from tests.simulator import Simulation
from tools.catalogue import OK, Made, opened, vector
from tools.catalogue.forge import NONE, ONE, plus, with_members

CHECKING = "Checking a stamp"
SAYING = "Stamps and cosignatures"
RENEWALS = "Renewals"
NOTE = ONE.run().notes[0]
OVER = sha256(NOTE).digest()
TSA = Authority("tsa")
TOP = Authority("top")
BELOW = Authority("tsa", above=TOP, chain=True)


def told(raw: bytes, *roots: Certificate, over: bytes = OVER, **more: object) -> Made:
    """Return a vector: a response, the roots a judge holds, the imprint it must have, and what else is demanded."""
    found = " ".join(b64encode(der(root)).decode() for root in roots or (TSA.root,))
    return raw, {"over": over.hex(), "roots": found, **more}


def made(**changes: Any) -> Made:
    """Return the stamp of an authority that differs from the honest one in this, to a judge who holds its root."""
    authority = replace(TSA, **changes)
    return told(authority.over(NOTE), authority.root)


def der(certificate: Certificate) -> bytes:
    """Return the bytes of a certificate."""
    return certificate.public_bytes(Encoding.DER)


def info(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the hook that gives a token other fields."""
    return lambda found: {**found, **fields}


def imprint(algorithm: str, size: int | None = None) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the hook that makes the imprint by another algorithm."""
    digest = new(algorithm, NOTE).digest()[:size]
    return info(message_imprint={"hash_algorithm": {"algorithm": algorithm}, "hashed_message": digest})


def attribute(kind: str, value: Any) -> Callable[[list[Any]], list[Any]]:
    """Return the hook that gives one signed attribute another value, or adds it."""
    other = cms.CMSAttribute({"type": kind, "values": [value]})
    return lambda found: [*(each for each in found if each["type"].native != kind), other]


def without(kind: str) -> Callable[[list[Any]], list[Any]]:
    """Return the hook that leaves a signed attribute out."""
    return lambda found: [each for each in found if each["type"].native != kind]


def signer(**fields: Any) -> Callable[[list[Any]], list[Any]]:
    """Return the hook that changes what a signature says of itself."""
    return lambda found: [{**found[0], **fields}]


def under(certificate: bytes) -> bytes:
    """Return a stamp that holds this certificate, and whose signature covers it."""
    covered = attribute("signing_certificate_v2", certified(certificate))
    return replace(TSA, certificates=lambda _: [certificate], attributes=covered).over(NOTE)


def status(word: str) -> bytes:
    """Return an honest token in a response of another status."""
    return TSA.stamp(OVER, None, word)


@vector("stamp", OK, CHECKING)
def plain() -> Made:
    """A stamp with the authority's certificate alone, and an accuracy of a second."""
    return made()


@vector("stamp", OK, SAYING)
def with_its_root() -> Made:
    """A token with its chain, root included, in an order that DER does not allow."""
    return made(chain=True)


@vector("stamp", OK, CHECKING)
def under_an_intermediate() -> Made:
    """The authority's certificate is under one that is in the token, which is under the root."""
    return told(BELOW.over(NOTE), TOP.root)


@vector("stamp", OK, CHECKING)
def under_an_intermediate_that_the_judge_holds() -> Made:
    """The certificate between the authority's and the root is not in the token, and the judge has it."""
    return told(replace(BELOW, chain=False).over(NOTE), BELOW.root, TOP.root)


@vector("stamp", OK, SAYING)
def without_accuracy() -> Made:
    """A token that states no accuracy."""
    return made(accuracy=None)


@vector("stamp", OK, SAYING, time="2026-01-01T00:00:00.987654+00:00", accuracy="1.002003")
def fractions_of_a_second() -> Made:
    """A time to the microsecond, and an accuracy in seconds, thousandths and millionths."""
    return made(time=EPOCH + timedelta(microseconds=987654), accuracy=1.002003)


@vector("stamp", OK, SAYING, time="2026-01-01T00:00:00+00:00", accuracy="0.002")
def accuracy_without_seconds() -> Made:
    """An accuracy that states thousandths of a second alone."""
    return made(info=info(accuracy={"millis": 2}))


@vector("stamp", OK, CHECKING, nonce="18446744073709551615")
def answer_to_this_request() -> Made:
    """The nonce is that of the request."""
    return told(TSA.stamp(OVER, (1 << 64) - 1))


@vector("stamp", OK, CHECKING, policies="1.2.3.4.2 1.2.3.4.1")
def policy_of_two() -> Made:
    """The policy is one of two that are accepted."""
    return made()


@vector("stamp", OK, CHECKING)
def usage_of_non_repudiation() -> Made:
    """The certificate's key usage is nonRepudiation and not digitalSignature."""
    return made(usage="content_commitment")


@vector("stamp", OK, CHECKING)
def from_the_first_second_on() -> Made:
    """The certificate is valid from genTime on."""
    return made(begins=EPOCH)


@vector("stamp", OK, CHECKING)
def until_the_second_after() -> Made:
    """The certificate is valid until one second after genTime."""
    return made(ends=hours(1 / 3600))


@vector("stamp", OK, CHECKING)
def long_expired() -> Made:
    """A stamp of 2017, whose certificate was valid then and has ended since."""
    return made(time=EPOCH - timedelta(days=3000), ends=EPOCH - timedelta(days=2900))


@vector("stamp", OK, CHECKING)
def certificate_by_sha_1() -> Made:
    """The signature covers its certificate by the attribute of RFC 2634, with SHA-1."""
    first = {"certs": [{"cert_hash": sha1(der(TSA.certificate)).digest()}]}
    old = cms.CMSAttribute({"type": "signing_certificate", "values": [tsp.SigningCertificate(first)]})
    return made(attributes=lambda found: [*found[:2], old])


@vector("stamp", OK, CHECKING)
def certificate_by_sha_512() -> Made:
    """The signature covers its certificate with SHA-512."""
    first = {"hash_algorithm": {"algorithm": "sha512"}, "cert_hash": sha512(der(TSA.certificate)).digest()}
    return made(attributes=attribute("signing_certificate_v2", tsp.SigningCertificateV2({"certs": [first]})))


@vector("stamp", OK, CHECKING)
def certificate_of_a_stranger_beside() -> Made:
    """The token holds a certificate that has nothing to do with it."""
    return made(certificates=lambda found: sorted([*found, der(TOP.root)]))


@vector("stamp", Reason.LIMIT, "Limits", large=True)
def of_65537_bytes() -> Made:
    """A response one byte too large."""
    return told(bytes(65537))


@vector("stamp", Reason.STAMP, SAYING)
def empty() -> Made:
    """No bytes."""
    return told(b"")


@vector("stamp", Reason.STAMP, SAYING)
def text() -> Made:
    """The page that a web server shows when something is wrong."""
    return told(b"<html><body>503 Service Unavailable</body></html>\n")


@vector("stamp", Reason.STAMP, SAYING)
def token_alone() -> Made:
    """The token, without the response around it."""
    return told(tsp.TimeStampResp.load(TSA.over(NOTE))["time_stamp_token"].dump())


@vector("stamp", Reason.STAMP, SAYING)
def granted_without_a_token() -> Made:
    """A response that grants the request and has no token."""
    return told(bytes.fromhex("30053003020100"))


@vector("stamp", Reason.STAMP, SAYING)
def cut_by_one_byte() -> Made:
    """A response without its last byte."""
    return told(TSA.over(NOTE)[:-1])


@vector("stamp", Reason.STAMP, SAYING)
def byte_after() -> Made:
    """A zero byte after the response."""
    return told(TSA.over(NOTE) + b"\0")


@vector("stamp", Reason.STAMP, SAYING)
def length_of_three_bytes() -> Made:
    """The length of the response is written in three bytes, where two will do."""
    raw = TSA.over(NOTE)
    assert raw[:2] == b"\x30\x82"
    return told(b"\x30\x83\0" + raw[2:])


@vector("stamp", Reason.STAMP, SAYING)
def length_indefinite() -> Made:
    """The response has an indefinite length, as BER allows."""
    return told(b"\x30\x80" + TSA.over(NOTE)[4:] + b"\0\0")


@vector("stamp", Reason.STAMP, SAYING)
def content_of_another_type() -> Made:
    """The token's content is said to be a receipt (RFC 2634), and no timestamp."""
    timestamp, receipt = (core.ObjectIdentifier(f"1.2.840.113549.1.9.16.1.{last}").dump() for last in (4, 1))
    return told(TSA.over(NOTE).replace(timestamp, receipt, 1))


@vector("stamp", Reason.STAMP, SAYING)
def imprint_by_sha_1() -> Made:
    """The imprint is the SHA-1 of the note."""
    raw, parameters = made(info=imprint("sha1"))
    return raw, {**parameters, "over": sha1(NOTE).hexdigest()}


@vector("stamp", Reason.STAMP, SAYING)
def imprint_by_sha_512() -> Made:
    """The imprint is the SHA-512 of the note."""
    raw, parameters = made(info=imprint("sha512"))
    return raw, {**parameters, "over": sha512(NOTE).hexdigest()}


@vector("stamp", Reason.STAMP, SAYING)
def imprint_by_sha_512_cut() -> Made:
    """The imprint has the size of a SHA-256, and the right bytes, and is said to be a SHA-512."""
    return made(info=info(message_imprint={"hash_algorithm": {"algorithm": "sha512"}, "hashed_message": OVER}))


@vector("stamp", Reason.STAMP, SAYING)
def time_without_a_zone() -> Made:
    """The time does not end in Z."""
    raw, parameters = made()
    return raw.replace(b"20260101000000Z", b"202601010000000"), parameters


@vector("stamp", Reason.STAMP, SAYING)
def time_in_the_year_9999() -> Made:
    """A time to which no accuracy can be added."""
    return made(time=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))


@vector("stamp", Reason.STAMP, SAYING)
def accuracy_of_ages() -> Made:
    """An accuracy of 10,000 years."""
    return made(accuracy=10_000 * 365 * 86400)


@vector("stamp", Reason.STAMP, SAYING)
def accuracy_of_136_bits() -> Made:
    """An accuracy of 2^135 seconds, which a reader that cuts it might take for none."""
    return made(info=info(accuracy={"seconds": 1 << 135}))


@vector("stamp", Reason.STAMP, SAYING)
def accuracy_of_a_thousand_thousandths() -> Made:
    """An accuracy of 1,000 thousandths of a second, of which there are 999 at most."""
    return made(info=info(accuracy={"millis": 1000}))


@vector("stamp", Reason.STAMP_REFUSED, SAYING)
def rejected() -> Made:
    """The authority rejected the request."""
    return told(TSA.refusal())


@vector("stamp", Reason.STAMP_REFUSED, SAYING)
def rejected_in_words() -> Made:
    """The authority rejected the request, and says so in words that would change what a terminal shows."""
    return told(TSA.refusal("\x1b[2Jaccepted\nverified"))


@vector("stamp", Reason.STAMP_REFUSED, SAYING)
def rejected_with_a_token() -> Made:
    """The status is rejection, and an honest token is there all the same."""
    return told(status("rejection"))


@vector("stamp", Reason.STAMP_REFUSED, SAYING)
def granted_with_modifications() -> Made:
    """The status is granted with modifications."""
    return told(status("granted_with_mods"))


@vector("stamp", Reason.STAMP_REFUSED, SAYING)
def waiting() -> Made:
    """The status is waiting."""
    return told(status("waiting"))


@vector("stamp", Reason.STAMP_IMPRINT, CHECKING)
def over_another_message() -> Made:
    """A stamp over something else."""
    return told(TSA.over(NOTE + b"\n"))


@vector("stamp", Reason.STAMP_IMPRINT, CHECKING)
def over_the_text_of_a_head() -> Made:
    """A stamp over a head's text, without its signature."""
    return told(TSA.over(NOTE.partition(b"\n\n")[0] + b"\n"))


@vector("stamp", Reason.STAMP_IMPRINT, CHECKING)
def imprint_of_31_bytes() -> Made:
    """The imprint is the first 31 bytes of the right one."""
    return made(info=imprint("sha256", 31))


@vector("stamp", Reason.STAMP_NONCE, CHECKING, nonce="1")
def answer_to_another_request() -> Made:
    """The nonce is one above that of the request."""
    return told(replace(TSA, nonce_off_by=1).stamp(OVER, 1))


@vector("stamp", Reason.STAMP_NONCE, CHECKING, nonce="1")
def answer_without_a_nonce() -> Made:
    """The request had a nonce, and the token has none."""
    return made()


@vector("stamp", Reason.STAMP_POLICY, CHECKING, policies="1.2.3.4.1")
def policy_of_none() -> Made:
    """The policy is below the one that is accepted."""
    return made(policy="1.2.3.4.1.1")


@vector("stamp", Reason.STAMP_PURPOSE, CHECKING)
def purpose_not_said() -> Made:
    """The certificate has no extended key usage."""
    return made(purpose=None)


@vector("stamp", Reason.STAMP_PURPOSE, CHECKING)
def purpose_not_critical() -> Made:
    """The certificate's extended key usage is not critical."""
    return made(critical=False)


@vector("stamp", Reason.STAMP_PURPOSE, CHECKING)
def purpose_of_code() -> Made:
    """The certificate is for signing code."""
    return made(purpose=ExtendedKeyUsageOID.CODE_SIGNING)


@vector("stamp", Reason.STAMP_PURPOSE, CHECKING)
def purposes_of_two_kinds() -> Made:
    """The certificate is for timestamps, and for signing code too."""
    return made(other_purposes=(ExtendedKeyUsageOID.CODE_SIGNING,))


@vector("stamp", Reason.STAMP_PURPOSE, CHECKING)
def purpose_of_any_kind() -> Made:
    """The certificate is for timestamps, and for anything."""
    return made(other_purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,))


@vector("stamp", Reason.STAMP_PURPOSE, CHECKING)
def usage_of_encryption_too() -> Made:
    """The certificate's key may sign, and encipher keys too."""
    return made(usage="digital_signature key_encipherment")


@vector("stamp", Reason.STAMP_ROOT, CHECKING)
def root_of_another() -> Made:
    """The judge holds the root of another authority."""
    return told(TSA.over(NOTE), TOP.root)


@vector("stamp", Reason.STAMP_ROOT, CHECKING)
def root_of_the_same_name() -> Made:
    """The judge holds a root of the same name with another key."""
    return told(TSA.over(NOTE), Authority("tsa", root_key=key_of("other")).root)


@vector("stamp", Reason.STAMP_ROOT, CHECKING)
def root_in_the_token_alone() -> Made:
    """The token holds its root, and the judge that of another."""
    return told(replace(TSA, chain=True).over(NOTE), TOP.root)


@vector("stamp", Reason.STAMP_ROOT, CHECKING)
def intermediate_missing() -> Made:
    """The certificate between the authority's and the root is nowhere."""
    return told(replace(BELOW, chain=False).over(NOTE), TOP.root)


@vector("stamp", Reason.STAMP_ROOT, CHECKING)
def intermediate_for_a_root() -> Made:
    """The judge holds the certificate above the authority's, which is under a root that the judge does not hold."""
    return told(BELOW.over(NOTE), BELOW.root)


@vector("stamp", Reason.STAMP_EXPIRED, CHECKING)
def certificate_not_yet_valid() -> Made:
    """The certificate is valid from a second after genTime on."""
    return made(begins=hours(1 / 3600))


@vector("stamp", Reason.STAMP_EXPIRED, CHECKING)
def certificate_that_has_ended() -> Made:
    """The certificate is valid until genTime."""
    return made(ends=EPOCH)


@vector("stamp", Reason.STAMP_EXPIRED, CHECKING)
def root_that_has_ended() -> Made:
    """The authority's certificate is valid at genTime, and the root is not any more."""
    return made(time=EPOCH + YEARS + timedelta(days=1), ends=EPOCH + 2 * YEARS)


@vector("stamp", Reason.STAMP_SIGNATURE, CHECKING)
def signature_with_a_bit_flipped() -> Made:
    """The last bit of the signature is another."""
    raw, parameters = made()
    return raw[:-1] + bytes([raw[-1] ^ 1]), parameters


@vector("stamp", Reason.STAMP_SIGNATURE, CHECKING)
def signature_by_another_key() -> Made:
    """The signature is by another key than the certificate's."""
    return made(key=key_of("other"), certificates=lambda _: [der(TSA.certificate)], attributes=covering(TSA))


def covering(authority: Authority) -> Callable[[list[Any]], list[Any]]:
    """Return the hook that makes a signature cover an authority's certificate."""
    return attribute("signing_certificate_v2", certified(der(authority.certificate)))


@vector("stamp", Reason.STAMP_SIGNATURE, CHECKING)
def time_changed() -> Made:
    """The time was made an hour earlier after it was signed."""
    raw, parameters = made()
    return raw.replace(b"20260101000000Z", b"20251231230000Z"), parameters


@vector("stamp", Reason.STAMP_SIGNATURE, CHECKING)
def digest_of_another_content() -> Made:
    """The signed attribute is the digest of another content."""
    return made(attributes=attribute("message_digest", bytes(32)))


@vector("stamp", Reason.STAMP_SIGNATURE, CHECKING)
def signatures_of_two() -> Made:
    """The token has two signatures."""
    return made(signers=lambda found: found * 2)


@vector("stamp", Reason.STAMP_SIGNATURE, CHECKING)
def signature_of_nobody() -> Made:
    """The token has no signature."""
    return made(signers=lambda _: [])


@vector("stamp", Reason.STAMP_SIGNATURE, CHECKING)
def no_certificates() -> Made:
    """The token holds no certificate."""
    return made(certificates=lambda _: [])


@vector("stamp", Reason.STAMP_SIGNATURE, CHECKING)
def certificate_not_covered() -> Made:
    """The signature does not cover the certificate."""
    return made(attributes=without("signing_certificate_v2"))


@vector("stamp", Reason.STAMP_SIGNATURE, CHECKING)
def certificate_exchanged() -> Made:
    """The certificate was exchanged for a later one of the same key, name and serial number."""
    later = Authority("tsa", ends=EPOCH + 2 * YEARS)
    return made(certificates=lambda _: [der(later.certificate)])


@vector("stamp", Reason.STAMP_SIGNATURE, CHECKING)
def certificate_with_a_twin() -> Made:
    """Beside the certificate lies another of the same name and serial number."""
    later = Authority("tsa", ends=EPOCH + 2 * YEARS)
    return made(certificates=lambda found: sorted([*found, der(later.certificate)]))


@vector("stamp", Reason.STAMP_SIGNATURE, CHECKING)
def certificate_by_md5() -> Made:
    """The signature covers its certificate with MD5."""
    first = {"hash_algorithm": {"algorithm": "md5"}, "cert_hash": new("md5", der(TSA.certificate)).digest()}
    return made(attributes=attribute("signing_certificate_v2", tsp.SigningCertificateV2({"certs": [first]})))


HEAD = NONE.run().notes[0]
FIRST = TSA.over(HEAD)
LATER = TOP.at(hours(24))


def beside(*stamps: bytes, start: int = 0, size: int = 1, run: Simulation = NONE) -> bytes:
    """Return an archive with these stamps over the head of this size, numbered from `start`."""
    members = [(container.stamp_name(size, number), raw) for number, raw in enumerate(stamps, start)]
    return with_members(lambda found: sorted([*found, *members]), run)


def renewal(*earlier: bytes, of: bytes = HEAD) -> bytes:
    """Return a stamp, by another authority a day later, over a head and earlier stamps over it."""
    return LATER.over(b"polarchive/v1/renewal\0" + b"".join(len(x).to_bytes(8, "big") + x for x in (of, *earlier)))


@vector("archive", OK, SAYING)
def stamped() -> bytes:
    """A stamp over the only head."""
    return beside(FIRST)


@vector("archive", OK, SAYING)
def stamped_with_a_chain() -> bytes:
    """A stamp whose certificates are not in the order of DER."""
    return beside(replace(TSA, chain=True).over(HEAD))


@vector("archive", OK, SAYING)
def stamped_by_two() -> bytes:
    """Stamps over one head by two authorities, the second of them made before the first."""
    return beside(LATER.over(HEAD), FIRST)


@vector("archive", OK, SAYING)
def stamped_twice_alike() -> bytes:
    """The same stamp twice."""
    return beside(FIRST, FIRST)


@vector("archive", OK, SAYING)
def stamped_by_whom_nobody_believes() -> bytes:
    """A stamp whose signature is wrong: that it does not count is for a judge to say, and not for a reader."""
    return beside(FIRST[:-1] + bytes([FIRST[-1] ^ 1]))


@vector("archive", OK, RENEWALS)
def renewed() -> bytes:
    """A stamp and its renewal."""
    return beside(FIRST, renewal(FIRST))


@vector("archive", OK, RENEWALS)
def renewed_after_two() -> bytes:
    """Two stamps, a renewal over both, another stamp, and a renewal over all of these."""
    two = [FIRST, LATER.over(HEAD)]
    three = [*two, renewal(*two), replace(TSA, time=hours(48)).over(HEAD)]
    return beside(*three, renewal(*three))


@opened(Reason.STAMP_IMPRINT, SAYING)
def stamp_over_another_head() -> bytes:
    """The stamp beside the head of size 2 is over that of size 1."""
    return beside(TSA.over(ONE.run().notes[0]), size=2, run=ONE)


@opened(Reason.STAMP_REFUSED, SAYING)
def stamp_that_was_refused() -> bytes:
    """The answer of an authority that rejects the request."""
    return beside(TSA.refusal())


@opened(Reason.STAMP, SAYING)
def stamp_of_no_bytes() -> bytes:
    """A stamp of no bytes at all."""
    return beside(b"")


@opened(Reason.MEMBER, SAYING)
def stamps_numbered_from_1() -> bytes:
    """The only stamp over a head has the number 001."""
    return beside(FIRST, start=1)


@opened(Reason.MEMBER, SAYING)
def stamps_with_a_gap() -> bytes:
    """There are stamps 000 and 002, and no 001."""
    members = [(container.stamp_name(1, number), FIRST) for number in (0, 2)]
    return with_members(lambda found: sorted([*found, *members]))


@opened(Reason.STAMP_IMPRINT, RENEWALS)
def renewal_of_nothing() -> bytes:
    """The first stamp has the imprint of a renewal that covers no stamp."""
    return beside(renewal())


@opened(Reason.STAMP_IMPRINT, RENEWALS)
def renewal_without_what_it_covers() -> bytes:
    """A renewal whose stamp was left out, and which has its number."""
    return beside(renewal(FIRST))


@opened(Reason.STAMP_IMPRINT, RENEWALS)
def renewal_of_one_of_two() -> bytes:
    """A renewal over the second of two stamps."""
    second = LATER.over(HEAD)
    return beside(FIRST, second, renewal(second))


@opened(Reason.STAMP_IMPRINT, RENEWALS)
def renewal_in_another_order() -> bytes:
    """A renewal over two stamps that have changed places since."""
    second = LATER.over(HEAD)
    return beside(second, FIRST, renewal(FIRST, second))


@opened(Reason.STAMP_IMPRINT, RENEWALS)
def renewal_of_other_bytes() -> bytes:
    """A byte of the renewed stamp is another, which breaks nothing else: its signature does not cover it."""
    version = FIRST.index(bytes.fromhex("020103310f")) + 2  # of the CMS that holds the token
    return beside(FIRST[:version] + b"\x04" + FIRST[version + 1 :], renewal(FIRST))


@opened(Reason.STAMP_IMPRINT, RENEWALS)
def renewal_of_the_stamp_alone() -> bytes:
    """A renewal that does not cover the head."""
    return beside(FIRST, LATER.over(b"polarchive/v1/renewal\0" + len(FIRST).to_bytes(8, "big") + FIRST))


@opened(Reason.COSIGNATURE, "Cosignatures")
def cosignatures_without_a_line_end() -> bytes:
    """The last line of the cosignatures of a head is not ended."""
    line = b"\xe2\x80\x94 witness.example " + b64encode(bytes(76))
    return with_members(plus(container.cosignatures_name(1), line))


@opened(Reason.COSIGNATURE, "Cosignatures")
def cosignatures_of_no_lines() -> bytes:
    """The member of a head's cosignatures is empty but for a line end."""
    return _cosigned("")


@opened(Reason.COSIGNATURE, "Cosignatures")
def cosignature_with_a_hyphen() -> bytes:
    """The line of a witness begins with a hyphen."""
    return _cosigned(f"- witness.example {b64encode(bytes(76)).decode()}")


@opened(Reason.COSIGNATURE, "Cosignatures")
def cosignature_of_a_key_id_alone() -> bytes:
    """The line of a witness holds nothing after the key id."""
    return _cosigned(f"— witness.example {b64encode(bytes(4)).decode()}")


@opened(Reason.COSIGNATURE, "Cosignatures")
def cosignature_without_padding() -> bytes:
    """The base64 of a witness's line lacks its padding."""
    return _cosigned(f"— witness.example {b64encode(bytes(76)).decode().rstrip('=')}")


@opened(Reason.COSIGNATURE, "Cosignatures")
def cosignature_of_a_name_with_a_plus() -> bytes:
    """The name of a witness holds a plus sign, which no key's name does."""
    return _cosigned(f"— witness+example {b64encode(bytes(76)).decode()}")


def _cosigned(line: str) -> bytes:
    return with_members(plus(container.cosignatures_name(1), f"{line}\n".encode()))
