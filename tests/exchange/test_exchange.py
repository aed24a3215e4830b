"""Test what crosses the channel: all that was asked for from an honest prover, and from a false one the proof of it."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from polarchive.errors import OpeningError, PolError, Unreachable
from polarchive.exchange.desk import Desk
from polarchive.exchange.releases import Admitted, Fact, Released, Releases
from polarchive.format import part, request
from polarchive.format.part import BatchPart, StatePart
from polarchive.format.tensors import root_of
from tests.exchange.scene import HOUR, JUDGE, NOW, OTHER, Prover, Scene
from tests.format.test_opening import comparable
from tests.simulator import STRANGER, Simulation

STEPS = (0, 1, 4, 5)


def test_an_honest_exchange(scene: Scene) -> None:
    told: list[Fact] = []
    with scene.serving(tell=told.append) as server, scene.channel(server.url) as channel:
        for segment in (0, 2):
            for step in scene.archive.steps(segment):
                for micro, row in enumerate(step.batches):
                    shown = channel.batch(step.step, micro)
                    shown.check(row)
                    assert comparable(shown) == comparable(scene.run.openings[step.step][micro])
        assert root_of(channel.state(1)) == scene.archive.root(1)
    admitted, *released = scene.facts()
    assert [admitted, *released] == told
    document, head = scene.request(), sha256(scene.run.heads[-1].text).digest()
    substance = request.open_request(document).substance
    assert admitted == Admitted(NOW, JUDGE.key, request.digest(document), head, substance)
    names = [BatchPart(step, micro).name for step in STEPS for micro in (0, 1)] + [StatePart(1).name]
    assert [fact.part for fact in released if isinstance(fact, Released) and not fact.again] == names


def test_nothing_is_asked_for_twice(scene: Scene) -> None:
    prover = Prover(scene.run)
    with scene.serving(prover) as server:
        for _ in range(3):
            with scene.channel(server.url) as channel:
                for _ in range(2):
                    channel.batch(4, 1)
                    channel.state(3)
    assert prover.asked == [4]
    assert scene.released() == [BatchPart(4, 1).name, StatePart(3).name]


def test_what_is_kept_needs_no_server(scene: Scene) -> None:
    with scene.serving() as server, scene.channel(server.url) as channel:
        shown = channel.batch(4, 1)
    with scene.channel("https://127.0.0.1:1", patience=0.0) as channel:
        assert comparable(channel.batch(4, 1)) == comparable(shown)
        with pytest.raises(Unreachable):
            channel.batch(4, 0)


def test_what_is_fetched_ahead_is_there(scene: Scene) -> None:
    with scene.serving() as server, scene.channel(server.url) as channel:
        channel.prefetch([BatchPart(step, micro) for step in STEPS for micro in (0, 1)])
        channel.prefetch([StatePart(3)])
        for step in STEPS:
            channel.batch(step, 1)
        channel.state(3)
    names = scene.released()
    assert len(names) == len(set(names)) == 9


def test_what_fails_ahead_fails_when_it_is_needed(scene: Scene) -> None:
    with scene.serving(Prover(scene.run, withhold=1)) as server, scene.channel(server.url) as channel:
        channel.prefetch([BatchPart(1, 0), BatchPart(4, 0)])
        with pytest.raises(OpeningError, match=r"^the prover refuses: 404"):
            channel.batch(1, 0)
        channel.batch(4, 0)


@pytest.mark.parametrize(
    ("knob", "bad"),
    [({"lie": 5}, [5]), ({"swap": (0, 4)}, [0, 4]), ({"flip": 1}, [1])],
    ids=["lie", "swap", "flip"],
)
def test_a_wrong_batch_is_signed_and_kept(scene: Scene, knob: dict[str, Any], bad: list[int]) -> None:
    """What the prover shows is not what it committed to: the judge says so, and holds the prover's signature of it."""
    found = []
    with scene.serving(Prover(scene.run, **knob)) as server, scene.channel(server.url) as channel:
        for step in [step for segment in (0, 2) for step in scene.archive.steps(segment)]:
            try:
                channel.batch(step.step, 0).check(step.batches[0])
            except OpeningError:
                found.append(step.step)
    assert found == bad
    digest = request.digest(scene.request())
    for step in bad:
        stored = scene.folder / "kept" / f"{BatchPart(step, 0).name}.safetensors"
        signature = stored.with_suffix(".signature").read_bytes()
        content = sha256(stored.read_bytes()).digest()
        part.check(BatchPart(step, 0), digest, content, signature, scene.run.header.key)


@pytest.mark.parametrize(("knob", "status"), [({"withhold": 1}, "404"), ({"fail": 1}, "500")])
def test_a_batch_that_is_not_shown_is_named(scene: Scene, knob: dict[str, int], status: str) -> None:
    with scene.serving(Prover(scene.run, **knob)) as server, scene.channel(server.url) as channel:
        channel.batch(0, 0)
        with pytest.raises(OpeningError, match=f"^the prover refuses: {status}"):
            channel.batch(1, 0)
        channel.batch(4, 0)
    assert [reason.split(":")[0] for reason in scene.refused()] == [
        "step 1 cannot be shown" if status == "404" else "step 1"
    ]


@pytest.mark.parametrize(
    ("step", "micro"), [(2, 0), (3, 1), (6, 0), (0, 2), (8, 0), (2**64 - 1, 0)], ids=lambda number: str(number)[:4]
)
def test_what_was_not_asked_for_is_refused(scene: Scene, step: int, micro: int) -> None:
    with (
        scene.serving() as server,
        scene.channel(server.url) as channel,
        pytest.raises(OpeningError, match=r"403 .*not in the segments"),
    ):
        channel.batch(step, micro)
    assert scene.released() == [] and len(scene.refused()) == 1


def test_a_step_after_the_last_is_refused(tmp_path: Any) -> None:
    scene = Scene(tmp_path, Simulation(segments=3, every=2, last=1))
    with scene.archive, scene.serving() as server, scene.channel(server.url) as channel:
        channel.batch(4, 0)
        with pytest.raises(OpeningError, match="403"):
            channel.batch(5, 0)


def test_a_state_that_was_not_asked_for_is_refused(scene: Scene) -> None:
    with (
        scene.serving() as server,
        scene.channel(server.url) as channel,
        pytest.raises(OpeningError, match=r"state 2: .*403"),
    ):
        channel.state(2)


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"issued": NOW - 2, "expires": NOW - 1}, "410 the request has expired"),
    "about_another_head": ({"head": "size"}, "403 not about this run"),
    "about_another_run": ({"run": bytes(16)}, "403 not about this run"),
    "about_segments_that_are_not": ({"segments": (0, 4), "states": ()}, "403 about segments of a run that has 4"),
    "about_states_of_others": ({"states": (1, 4)}, "403 about states that are not"),
}


@pytest.mark.parametrize(("changes", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_request_that_may_not_be_answered_is_refused(scene: Scene, changes: dict[str, Any], reason: str) -> None:
    head = scene.run.heads[-1]
    if "head" in changes:
        changes = {"head": replace(head, size=head.size - 1)}
    if "run" in changes:
        changes |= {"head": replace(head, origin=f"prover.example/key/{bytes(16).hex()}")}
    with (
        scene.serving() as server,
        scene.channel(server.url, scene.request(**changes), clock=lambda: 0.0) as channel,
        pytest.raises(OpeningError, match=f"^the prover refuses: .*{reason}"),
    ):
        channel.batch(0, 0)
    assert scene.refused() == [text for text in scene.refused() if text.startswith(reason[4:])] != []


def test_a_request_that_expires_under_way_is_answered_no_longer(scene: Scene) -> None:
    with scene.serving() as server, scene.channel(server.url, clock=lambda: 0.0) as channel:
        channel.batch(0, 0)
        scene.clock.now += HOUR
        with pytest.raises(OpeningError, match="410"):
            channel.batch(0, 1)


def test_a_judge_asks_nobody_when_the_time_is_over(scene: Scene) -> None:
    with scene.serving() as server, scene.channel(server.url) as channel:
        scene.clock.now += HOUR
        with pytest.raises(Unreachable, match="the time for it is over"):
            channel.batch(0, 0)
    assert scene.facts() == []


def test_another_judges_request_is_refused(scene: Scene) -> None:
    """A judge sends the request that another has signed, and asks for parts of one that another has handed in."""
    with scene.serving() as server:
        with scene.channel(server.url) as channel:
            channel.batch(0, 0)
        with (
            scene.channel(server.url, scene.request(), signer=OTHER, folder="theirs") as channel,
            pytest.raises(OpeningError, match="403 a request by judge"),
        ):
            channel.batch(0, 0)
    assert len(scene.released()) == 1 and len(scene.refused()) == 1


def test_one_request_about_one_head(scene: Scene) -> None:
    with scene.serving() as server:
        with scene.channel(server.url) as channel:
            channel.batch(0, 0)
        with (
            scene.channel(server.url, scene.request(nonce=bytes(32)), folder="redrawn") as channel,
            pytest.raises(OpeningError, match="409"),
        ):
            channel.batch(0, 0)
    with scene.serving() as server:  # which has forgotten nothing
        with (
            scene.channel(server.url, scene.request(segments=(0, 1, 2)), folder="more") as channel,
            pytest.raises(OpeningError, match="409"),
        ):
            channel.batch(2, 0)
        with scene.channel(server.url, scene.request(OTHER), signer=OTHER, folder="theirs") as channel:
            channel.batch(0, 0)


def test_a_request_can_be_renewed(scene: Scene) -> None:
    with scene.serving() as server:
        with scene.channel(server.url) as channel:
            channel.batch(0, 0)
        scene.clock.now += 2 * HOUR
        renewed = scene.request(issued=NOW + 2 * HOUR, expires=NOW + 3 * HOUR)
        with scene.channel(server.url, renewed, folder="renewed") as channel:
            channel.batch(0, 0)
    assert [fact.again for fact in scene.facts() if isinstance(fact, Released)] == [False, True]
    assert len({fact.request for fact in scene.facts() if isinstance(fact, Admitted)}) == 2


def test_a_folder_holds_one_answer(scene: Scene) -> None:
    scene.channel("https://127.0.0.1:1").close()
    with pytest.raises(PolError, match="another request"):
        scene.channel("https://127.0.0.1:1", scene.request(nonce=bytes(32)))


def test_a_kept_part_that_changed_is_not_blamed_on_the_prover(scene: Scene) -> None:
    with scene.serving() as server, scene.channel(server.url) as channel:
        channel.batch(0, 0)
        (scene.folder / "kept" / f"{BatchPart(0, 0).name}.safetensors").write_bytes(b"changed")
        with pytest.raises(PolError) as damage:
            channel.batch(0, 0)
    assert not isinstance(damage.value, OpeningError)


def test_the_signer_is_the_runs(scene: Scene) -> None:
    record, prover = Releases(scene.record), Prover(scene.run)
    with pytest.raises(ValueError, match="the signer stranger"):
        Desk(scene.archive, STRANGER, prover.openings, prover.states, record)
    record.close()


@pytest.mark.parametrize(
    "url", ["", "http://127.0.0.1:1", "https://127.0.0.1", "https://h:0x", "https://h:1/path", "https://h:1?q", "h:1"]
)
def test_another_url_is_refused(scene: Scene, url: str) -> None:
    with pytest.raises(PolError, match="https://HOST:PORT"):
        scene.channel(url)
