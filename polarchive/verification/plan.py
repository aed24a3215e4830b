"""Draw what a challenge asks for, before anything is replayed."""

from dataclasses import dataclass

from polarchive.format.archive import Archive
from polarchive.format.challenge import derive, draw
from polarchive.verification.policy import Policy


@dataclass(frozen=True, slots=True)
class Plan:
    """Say what a challenge asks for: segments in ascending order, and those of their states that are not stored.

    Of `pairs` each is a segment that is replayed together with the next one, both of which are asked for anyway.
    """

    challenge: bytes
    segments: list[int]
    states: list[int]
    pairs: list[int]

    @classmethod
    def of(cls, archive: Archive, policy: Policy, nonce: bytes) -> "Plan":
        """Return what a judge's 32 random bytes lead to, under a policy."""
        challenge = derive(archive.heads[-1].text, nonce)
        segments = policy.selection(archive, challenge)
        needed = sorted({end for index in segments for end in (index, index + 1)})
        followed = [index for index in segments if index + 1 in set(segments)]
        drawn = draw(challenge, len(followed), min(policy.in_a_row, len(followed)), "pairs")
        states = [index for index in needed if not archive.is_stored(index)]
        return cls(challenge, segments, states, [followed[place] for place in drawn])
