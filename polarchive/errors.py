"""Say what went wrong, once, in words a person can act on and a code a program can match."""

from enum import StrEnum


class Reason(StrEnum):
    """Enumerate why an archive is refused (SPEC.md, "Reason codes")."""

    TRUNCATED = "truncated"  # fewer bytes than the format says
    ZIP = "zip"  # container bytes differ from the canonical ones
    INDEX = "index"  # zz-index.json lies or is malformed
    MEMBER = "member"  # a member's name, order or presence
    DIGEST = "digest"  # a member's bytes differ from the index
    LIMIT = "limit"  # a size or count above the limits
    JSON = "json"  # not canonical JSON
    FIELD = "field"  # an entry's field is missing, extra, or of the wrong form
    VERSION = "version"  # a format version or feature this reader refuses
    ENTRY = "entry"  # entries out of order, repeated, missing, or after the end
    TENSORS = "tensors"  # not canonical safetensors
    STATE = "state"  # a state's root differs from the committed one
    ROWS = "rows"  # step rows differ from their segment
    NOTE = "note"  # not a canonical signed note
    KEY = "key"  # signed by another key than the header's, or by one not trusted
    SIGNATURE = "signature"  # a signature does not verify
    HEAD = "head"  # a head does not fit the entries
    PROOF = "proof"  # a Merkle proof does not verify
    CODING = "coding"  # a coded state's streams are malformed
    JOURNAL = "journal"  # a run directory's journal is damaged before its tail
    STAMP = "stamp"  # not a well-formed timestamp response
    STAMP_REFUSED = "stamp-refused"  # the authority did not grant it
    STAMP_IMPRINT = "stamp-imprint"  # over something else than the head it lies beside
    STAMP_NONCE = "stamp-nonce"  # the answer to another request
    STAMP_POLICY = "stamp-policy"  # under a policy that is not accepted
    STAMP_PURPOSE = "stamp-purpose"  # signed under a certificate that is not for stamping alone
    STAMP_ROOT = "stamp-root"  # its chain leads to no root that is trusted
    STAMP_EXPIRED = "stamp-expired"  # a certificate was not valid at its time
    STAMP_SIGNATURE = "stamp-signature"  # its signature does not verify
    COSIGNATURE = "cosignature"  # not a witness's signature line


class PolError(Exception):
    """Stand for everything polarchive refuses; `str()` is one line for people."""


class FormatError(PolError):
    """Refuse bytes that break SPEC.md; `reason` is the code, `place` where."""

    def __init__(self, reason: Reason, place: str, message: str) -> None:
        super().__init__(f"{place}: {message} [{reason.value}]")
        self.reason = reason
        self.place = place
        self._message = message

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes, with what was added on the way."""
        return type(self), (self.reason, self.place, self._message), self.__dict__


class TrustError(FormatError):
    """Refuse bytes that are well formed and not to be trusted."""


class SignatureError(TrustError):
    """Refuse a signature that is wrong, or by a key that is not expected."""


class DigestError(TrustError):
    """Refuse bytes that differ from their commitment."""


class StampError(TrustError):
    """Refuse a timestamp token."""


class OpeningError(PolError):
    """Report an opening that does not match its commitment; a finding, not a broken archive."""


class Unreachable(PolError):
    """Report that a prover's server gave no answer: a verdict can only be inconclusive."""


class TrainerError(PolError):
    """Report a trainer that cannot hold a recorded state, or code of the judge's that raised."""


class RecordingError(PolError):
    """Report a recording that cannot go on, with what to change in the loop."""
