"""Test what stamps come to: which count, what they date, how a log grew, and what a judge may demand of all that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from polarchive.errors import Reason
from polarchive.format import attach, container, stamp
from polarchive.format.archive import open_archive
from polarchive.trust import telling
from polarchive.trust.demands import Seen
from polarchive.trust.timeline import Timeline
from polarchive.trust.trust import Authority as Believed
from polarchive.trust.trust import Limits, Require, Trust
from tests.authority import EPOCH, YEARS, Authority, hours
from tests.simulator import PROVER, Simulation, changed

ONE, TWO, STRANGE = Authority("one"), Authority("two"), Authority("strange")
SEGMENTS, END = 4, 6
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class At:
    """Say that an authority stamped the head of a size at an hour."""

    size: int
    hour: float
    by: Authority = ONE


def trust(*authorities: Authority, **more: object) -> Trust:
    believed = tuple(Believed(each.name, (each.root,)) for each in authorities or (ONE,))
    return replace(Trust((PROVER.key,), believed), **more)


def sealed(path: Path, stamps: Iterable[At], after: Mapping[int, At] | None = None) -> Path:
    """Seal a run whose segments, by index, say after which stamps they were made."""
    tokens: dict[At, bytes] = {}

    def token(at: At, notes: list[bytes]) -> bytes:
        return tokens.setdefault(at, at.by.at(hours(at.hour)).over(notes[at.size - 1]))

    simulation = Simulation(segments=SEGMENTS)
    for index, at in sorted((after or {}).items()):
        digest = sha256(token(at, simulation.run().notes)).digest()
        before = simulation.entries

        def named(entries: list, index: int = index, digest: bytes = digest, before=before) -> list:  # type: ignore[no-untyped-def, type-arg]
            entries = before(entries)
            return [*entries[:index], changed(not_before=digest)(entries[index]), *entries[index + 1 :]]

        simulation = replace(simulation, entries=named)
    simulation.seal(path)
    for at in stamps:
        attach.attach_stamp(path, at.size, token(at, simulation.run().notes))
    return path


def timeline(path: Path, judge: Trust) -> Timeline:
    with open_archive(path, trusted=judge.keys) as archive:
        return Timeline.of(archive, judge, hours(1000))


def seen(path: Path, judge: Trust) -> Seen:
    with open_archive(path, trusted=judge.keys) as archive:
        return Seen.of(archive, judge)


GROWN = (At(1, 0), At(3, 1), At(END, 2))
GROWN_AFTER = {1: GROWN[0], 2: GROWN[1], 3: GROWN[1]}


def test_parts_of_a_log_exist_by_the_first_stamp_that_covers_them(tmp_path: Path) -> None:
    found = timeline(sealed(tmp_path / "a.pol", [At(1, 0), At(3, 1), At(5, 7), At(END, 4)]), trust())
    by = [found.existed(entry).latest - EPOCH for entry in range(END)]  # type: ignore[union-attr]
    second = timedelta(seconds=1)
    assert by == [second, HOUR + second, HOUR + second, 4 * HOUR + second, 4 * HOUR + second, 4 * HOUR + second]
    assert found.existed(END) is None
    assert [moment.earliest - EPOCH for moment in found.moments] == [at * HOUR - second for at in (0, 1, 7, 4)]
    assert [pace.until.size for pace in found.paces] == [3, END]  # the head of 5 is no news


def test_a_clock_without_accuracy_is_taken_to_be_as_far_off_as_the_judge_says(tmp_path: Path) -> None:
    vague = replace(ONE, accuracy=None)
    path = sealed(tmp_path / "a.pol", [At(END, 1, vague)])
    judge = Trust((PROVER.key,), (Believed("one", (ONE.root,), accuracy=timedelta(minutes=5)),))
    (moment,) = timeline(path, judge).moments
    assert (moment.earliest, moment.latest) == (hours(1) - timedelta(minutes=5), hours(1) + timedelta(minutes=5))


def test_whom_the_judge_does_not_believe_dates_nothing(tmp_path: Path) -> None:
    found = timeline(sealed(tmp_path / "a.pol", [At(END, -9, STRANGE), At(END, 1)]), trust())
    assert [moment.latest for moment in found.moments] == [hours(1) + timedelta(seconds=1)]
    assert [(each.name, each.reason) for each in found.refused] == [(container.stamp_name(END, 0), Reason.STAMP_ROOT)]


def test_policies_and_accuracy_that_are_not_accepted(tmp_path: Path) -> None:
    path = sealed(tmp_path / "a.pol", [At(END, 1)])
    strict = Trust((PROVER.key,), (Believed("one", (ONE.root,), frozenset({"9.9"})),))
    assert [each.reason for each in timeline(path, strict).refused] == [Reason.STAMP_POLICY]
    exact = trust(limits=Limits(accuracy=timedelta(milliseconds=10)))
    assert [each.reason for each in timeline(path, exact).refused] == [Reason.LIMIT]
    assert not timeline(path, exact).moments


def test_as_many_authorities_must_agree_as_the_judge_says(tmp_path: Path) -> None:
    path = sealed(tmp_path / "a.pol", [At(1, 0), At(END, 1), At(END, 2), At(END, 5, TWO)])
    (moment,) = timeline(path, trust(ONE, TWO, agree=2)).moments
    assert (moment.size, moment.latest, moment.authorities) == (END, hours(5) + timedelta(seconds=1), ("one", "two"))


def test_a_log_that_grew(tmp_path: Path) -> None:
    found = timeline(sealed(tmp_path / "a.pol", GROWN, GROWN_AFTER), trust())
    assert found.grew and found.bounded and found.share == 0.5  # segments 0 and 1 of 4, by the head of 3
    first, second = found.paces
    assert (first.steps, first.bounded) == (4, False)  # segment 0 names no stamp
    assert (second.steps, second.bounded, second.elapsed) == (4, True, HOUR + timedelta(seconds=2))
    assert second.rate == pytest.approx(4 / (1 + 2 / 3600))
    assert found.after == {1: hours(0) - timedelta(seconds=1), 2: hours(1) - timedelta(seconds=1), 3: found.after[2]}


def test_a_log_that_appeared_all_at_once(tmp_path: Path) -> None:
    found = timeline(sealed(tmp_path / "a.pol", [At(1, 0), At(END, 1), At(3, 2)]), trust())
    assert (found.grew, found.bounded, found.share) == (False, False, 1.0)


def test_clocks_that_overlap_show_no_growth(tmp_path: Path) -> None:
    assert not timeline(sealed(tmp_path / "a.pol", [At(2, 0), At(END, 1 / 3600)]), trust()).grew
    assert timeline(sealed(tmp_path / "b.pol", [At(2, 0), At(END, 3 / 3600)]), trust()).grew


def test_a_segment_is_after_no_stamp_that_covers_it_or_that_does_not_count(tmp_path: Path) -> None:
    strange = At(1, 0, STRANGE)
    found = timeline(sealed(tmp_path / "a.pol", [strange], {1: strange}), trust())
    assert not found.after and not found.bounded
    missing = timeline(sealed(tmp_path / "b.pol", [], {1: At(1, 0)}), trust())
    assert not missing.after


# Renewals: a certificate that ended, a stamp on top of the old one made before that, and one made too late.

OLD = replace(ONE, ends=hours(100))


def renewed(path: Path, hour: float, by: Authority = TWO) -> Path:
    with open_archive(path, trusted=None) as archive:
        earlier = [each.stamp.raw for each in archive.attached.over(END)]
        message = stamp.covered(archive.notes[-1], earlier)
    attach.attach_stamp(path, END, by.at(hours(hour)).over(message))
    return path


@pytest.mark.parametrize(("hour", "holds"), [(50, True), (99, True), (101, False)])
def test_a_renewal_keeps_a_stamp_if_it_was_made_in_time(hour: float, holds: bool, tmp_path: Path) -> None:
    path = renewed(sealed(tmp_path / "a.pol", [At(END, 1, OLD)]), hour)
    judge = trust(OLD, TWO, renewed=True)
    earliest = min(moment.latest for moment in timeline(path, judge).moments)
    assert earliest == hours(1 if holds else hour) + timedelta(seconds=1)
    lost = [each.reason for each in timeline(path, judge).refused]
    assert lost == ([] if holds else [Reason.STAMP_EXPIRED])


def test_without_a_renewal_an_old_stamp_counts_only_if_the_judge_says_so(tmp_path: Path) -> None:
    path = sealed(tmp_path / "a.pol", [At(END, 1, OLD)])
    lenient, strict = timeline(path, trust(OLD)), timeline(path, trust(OLD, renewed=True))
    assert lenient.moments and len(lenient.unrenewed) == 1
    assert not strict.moments and [each.reason for each in strict.refused] == [Reason.STAMP_EXPIRED]


def test_a_renewal_that_itself_expired_is_renewed_in_turn(tmp_path: Path) -> None:
    middle = replace(TWO, ends=hours(200))
    path = renewed(renewed(sealed(tmp_path / "a.pol", [At(END, 1, OLD)]), 90, middle), 190, STRANGE)
    assert timeline(path, trust(OLD, middle, STRANGE, renewed=True)).moments[0].latest < hours(2)
    late = renewed(renewed(sealed(tmp_path / "b.pol", [At(END, 1, OLD)]), 90, middle), 210, STRANGE)
    assert timeline(late, trust(OLD, middle, STRANGE, renewed=True)).moments[0].latest > hours(200)


def test_a_second_stamp_is_no_renewal(tmp_path: Path) -> None:
    path = sealed(tmp_path / "a.pol", [At(END, 1, OLD), At(END, 50, TWO)])
    assert timeline(path, trust(OLD, TWO, renewed=True)).moments[0].latest > hours(49)


# Demands: each is met by one log and not by another.

ALL = trust(require=Require.BOUNDED)
DEMANDS = {
    "the last head": (trust(require=Require.END), [At(END, 1)], {}, [At(5, 1)], {}, "last head"),
    "growth": (trust(require=Require.GROWTH), GROWN, {}, [At(END, 1)], {}, "all at once"),
    "lower bounds": (ALL, GROWN, GROWN_AFTER, GROWN, {0: GROWN[0], 1: GROWN[0]}, "which stamp they were made after"),
    "a first share": (trust(limits=Limits(share=0.5)), GROWN, {}, [At(5, 1)], {}, "100% of all steps existed"),
    "no gap": (trust(limits=Limits(gap=2 * HOUR)), GROWN, {}, [At(1, 0), At(END, 3)], {}, "2:00:00 are allowed"),
    "a rate": (
        trust(limits=Limits(rate=100)),
        GROWN,
        GROWN_AFTER,
        [At(1, 0), At(3, 1), At(END, 1.01)],
        {2: At(3, 1), 3: At(3, 1)},
        "100 are allowed",
    ),
}


@pytest.mark.parametrize("name", DEMANDS)
def test_a_demand_is_met_or_named(name: str, tmp_path: Path) -> None:
    judge, good, good_after, bad, bad_after, message = DEMANDS[name]
    assert not seen(sealed(tmp_path / "good.pol", good, good_after), judge).unmet
    (unmet,) = seen(sealed(tmp_path / "bad.pol", bad, bad_after), judge).unmet
    assert message in unmet


def test_a_rate_that_may_be_older_is_not_held_against_a_run(tmp_path: Path) -> None:
    path = sealed(tmp_path / "a.pol", [At(1, 0), At(3, 1), At(END, 1.01)])
    assert not seen(path, trust(limits=Limits(rate=100))).unmet


def test_the_report_says_what_stamps_show(tmp_path: Path) -> None:
    path = sealed(tmp_path / "a.pol", [*GROWN, At(END, -9, STRANGE)], GROWN_AFTER)
    text = "\n".join(telling.lines(seen(path, trust())))
    assert "segments 0 to 1 existed at 2026-01-01T01:00:00Z ± 1 s (one)" in text
    assert "4 steps within 1.0 h, at least 4 an hour" in text and "no lower bound" not in text
    assert "50-stamp-0000000006-001.tsr does not count: by no authority that you believe [stamp-root]" in text
    bare = "\n".join(telling.lines(seen(sealed(tmp_path / "b.pol", [At(END, 1)]), trust())))
    assert "the log appeared all at once" in bare and "no lower bound on time" in bare
    assert "times     unknown" in "\n".join(telling.lines(seen(sealed(tmp_path / "c.pol", []), trust())))
    unasked = "\n".join(telling.lines(seen(path, Trust((PROVER.key,)))))
    assert "not judged" in unasked


def test_programs_are_told_the_same(tmp_path: Path) -> None:
    told = telling.as_json(seen(sealed(tmp_path / "a.pol", GROWN, GROWN_AFTER), trust()))
    assert [head["size"] for head in told["heads"]] == [1, 3, END]
    assert told["segments_after"].keys() == {"1", "2", "3"} and told["all_at_once"] is False
    assert [pace["bounded"] for pace in told["paces"]] == [False, True]


def test_the_certificates_end_is_the_authoritys(tmp_path: Path) -> None:
    ends = replace(ONE, ends=EPOCH + YEARS / 2, chain=True)
    with open_archive(sealed(tmp_path / "a.pol", [At(END, 1, ends)]), trusted=None) as archive:
        found = Timeline.of(archive, trust(ends), EPOCH + YEARS)
    assert len(found.unrenewed) == 1
