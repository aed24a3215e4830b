"""Test that the witness of these tests keeps the rules of C2SP tlog-witness, as others would have it."""

from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from polarchive.format import cosignature, note
from polarchive.format.note import Head, VerifierKey
from tests.simulator import PROVER, STRANGER, FakeSigner
from tests.witness import FIRST, ORIGIN, REWRITTEN, Witness, key_of, request, spelled

# Requests for a public log of tests: its own key, and leaves made up so that proofs are short to spell.
TREE = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
TREE_KEY = VerifierKey(TREE, bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f"))
PUBLISHED = f"""\
old 0

{TREE}
1
KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

— {TREE} UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=
"""
PUBLISHED_AFTER = f"""\
old 1
KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=
KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

{TREE}
5
QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=

— {TREE} UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=
"""


def named(origin: str) -> bytes:
    return spelled("old 0", [], note.sign(Head(origin, 2, bytes(32)), PROVER))


def test_published_requests_are_cosigned(tmp_path: Path) -> None:
    public = Witness(tmp_path, {TREE: TREE_KEY})
    for body, size in ((PUBLISHED, 1), (PUBLISHED_AFTER, 5)):
        reply = public.answer(body.encode())
        text = body.encode().split(b"\n\n")[1] + b"\n"
        assert reply.status == 200 and cosignature.read(reply.body, text, [key_of(FIRST)])
        assert public.seen[TREE][0] == size


SEEN = 3
REFUSALS: dict[str, tuple[int, Callable[[], bytes]]] = {
    "nothing": (400, bytes),
    "no_note": (400, lambda: b"old 3\n\n"),
    "no_old_size": (400, lambda: request(5, 3).replace(b"old 3\n", b"")),
    "old_size_negative": (400, lambda: request(5, 3).replace(b"old 3", b"old -3")),
    "old_size_with_a_zero": (400, lambda: request(5, 3).replace(b"old 3", b"old 03")),
    "old_size_in_capitals": (400, lambda: request(5, 3).replace(b"old 3", b"OLD 3")),
    "old_size_above_the_new": (400, lambda: request(2, 3)),
    "proof_of_31_bytes": (400, lambda: spelled("old 3", [bytes(31)], request(5).split(b"\n\n", 1)[1])),
    "proof_of_64_lines": (400, lambda: spelled("old 3", [bytes(32)] * 64, request(5).split(b"\n\n", 1)[1])),
    "no_empty_line": (400, lambda: request(5, 3).replace(b"\n\n", b"\n", 1)),
    "size_with_a_zero": (400, lambda: request(5, 3).replace(b"\n5\n", b"\n05\n")),
    "no_last_line_end": (400, lambda: request(5, 3)[:-1]),
    "unknown_origin": (404, lambda: named("prover.example/another")),
    "signed_by_a_stranger": (403, lambda: request(5, 3, signer=STRANGER)),
    "signed_by_a_namesake": (403, lambda: request(5, 3, signer=FakeSigner(PROVER.name, STRANGER.seed))),
    "changed_after_signing": (403, lambda: request(5, 3).replace(b"\n5\n", b"\n6\n")),
    "old_size_0": (409, lambda: request(5)),
    "old_size_too_small": (409, lambda: request(5, 2)),
    "old_size_too_large": (409, lambda: request(5, 4)),
    "another_root_of_the_same_size": (409, lambda: request(3, 3, REWRITTEN.run().lines)),
    "no_proof": (422, lambda: spelled("old 3", [], request(5).split(b"\n\n", 1)[1])),
    "proof_too_long": (422, lambda: request(5, 3).replace(b"\n\n", b"\n" + b64encode(bytes(32)) + b"\n\n", 1)),
    "proof_where_none_is_due": (422, lambda: spelled("old 3", [bytes(32)], request(3).split(b"\n\n", 1)[1])),
    "proof_of_another_size": (422, lambda: request(5, 2).replace(b"old 2", b"old 3")),
    "another_log": (422, lambda: request(5, 3, REWRITTEN.run().lines)),
}


@pytest.mark.parametrize(("status", "body"), REFUSALS.values(), ids=REFUSALS)
def test_a_witness_refuses(status: int, body: Callable[[], bytes], tmp_path: Path) -> None:
    keeper = Witness(tmp_path)
    assert keeper.answer(request(SEEN)).status == 200
    before = keeper.seen
    reply = keeper.answer(body())
    assert reply.status == status and "—".encode() not in reply.body
    assert keeper.seen == before and before[ORIGIN][0] == SEEN
    assert keeper.answer(request(5, SEEN)).status == 200


@pytest.mark.parametrize("body", [request(5), request(5, 2), request(5, 4)], ids=["0", "2", "4"])
def test_a_witness_tells_the_size_it_has_seen(body: bytes, tmp_path: Path) -> None:
    keeper = Witness(tmp_path)
    keeper.answer(request(SEEN))
    reply = keeper.answer(body)
    assert (reply.status, reply.body, reply.kind) == (409, b"3\n", "text/x.tlog.size")


def test_a_first_request_has_no_proof(tmp_path: Path) -> None:
    body = spelled("old 0", [bytes(32)], request(5).split(b"\n\n", 1)[1])
    assert Witness(tmp_path).answer(body).status == 422


def test_signatures_of_others_are_ignored(tmp_path: Path) -> None:
    other = note.sign(Head(ORIGIN, 1, bytes(32)), STRANGER).split(b"\n\n")[1]
    assert Witness(tmp_path).answer(request(5) + other).status == 200


def test_a_witness_remembers_what_it_saw_when_it_is_begun_anew(tmp_path: Path) -> None:
    assert Witness(tmp_path).answer(request(SEEN)).status == 200
    again = Witness(tmp_path)
    assert again.answer(request(5, SEEN, REWRITTEN.run().lines)).status == 422
    assert again.answer(request(5, SEEN)).status == 200


def test_a_race_never_rolls_a_log_back(tmp_path: Path) -> None:
    keeper = Witness(tmp_path)
    keeper.answer(request(1))
    with ThreadPoolExecutor(5) as pool:
        statuses = [reply.status for reply in pool.map(keeper.answer, [request(size, 1) for size in (6, 2, 5, 3, 4)])]
    assert sorted(statuses) == [200, 409, 409, 409, 409]
    assert keeper.seen[ORIGIN][0] == (6, 2, 5, 3, 4)[statuses.index(200)]
