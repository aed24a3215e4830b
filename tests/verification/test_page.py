"""Show verdicts as pages that load nothing, that no name can break out of, and that say what they should."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import polarchive as pol
from polarchive.verification import policies, report
from polarchive.verification.drift import Unexplained
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.page.document import page, why
from polarchive.verification.page.markup import Markup, bullets, element
from polarchive.verification.page.worst import Worst
from polarchive.verification.selections import Odds
from tests.pages import HOSTILE, LONG, Element, hostile, long, read, replayed, stamped
from tests.simulator import PROVER
from tests.verification.conftest import Verdicts

PASSED, FAILED, UNKNOWN = Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN
LATE = Unexplained(0.3, 2.0, 1.0, 10.0, 4)


@pytest.fixture(scope="module")
def accepted(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> pol.Verdict:
    return stamped(honest, tmp_path_factory.mktemp("page") / "run.pol", policies.strict())


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> pol.Verdict:
    return hostile(tmp_path_factory.mktemp("page") / "hostile")


@pytest.fixture
def many(accepted: pol.Verdict, attacked: pol.Verdict, verdicts: Verdicts) -> dict[str, pol.Verdict]:
    bare = verdicts((PASSED,), ((PASSED,), (UNKNOWN,)))
    return {
        "accepted": accepted,
        "hostile": attacked,
        "bare": bare,
        "nothing replayed": verdicts((), ()),
        "nothing known": replace(verdicts((UNKNOWN,), ((FAILED,), ())), unexplained=LATE, archive=None),
        "no time": replace(accepted, seen=replace(accepted.seen, timeline=None)) if accepted.seen else accepted,
        "not finite": long(accepted, 3, replayed(1, math.nan, FAILED), replayed(2, math.inf, FAILED)),
        "extreme": long(accepted, 3, replayed(1, 1e-309), replayed(2, 1e308, FAILED, 0.1)),
        "no way": replace(bare, unexplained=Unexplained(math.nan, math.inf, 0.0, 0.0, 1)),
        "long": long(accepted, 2500),
    }


KINDS = (
    "accepted",
    "hostile",
    "bare",
    "nothing replayed",
    "nothing known",
    "no time",
    "not finite",
    "extreme",
    "no way",
    "long",
)


@pytest.mark.parametrize("kind", KINDS)
def test_page_is_whole_and_loads_nothing(kind: str, many: dict[str, pol.Verdict]) -> None:
    told = page(many[kind])
    html = read(told)
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    assert html.all("meta", http_equiv="Content-Security-Policy")[0].attributes["content"] == policy
    assert not re.search(r"url\(|@import|https?:", html.all("style")[0].text)
    assert len(told) < 250_000 and told == page(many[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_page_can_be_heard(kind: str, many: dict[str, pol.Verdict]) -> None:
    html = read(page(many[kind]))
    assert html.attributes["lang"] == "en" and html.all("title")[0].text.startswith(many[kind].result.capitalize())
    (headline,) = html.all("h1")
    assert headline.text.lower() == many[kind].result and all(each.text for each in html.all("h2"))
    assert [each.tag for each in html.all("section")] and all(each.all("h2") for each in html.all("section"))
    assert all(table.all("caption")[0].text and table.all("th", scope="col") for table in html.all("table"))
    images = [figure.all("svg")[0] for figure in html.all("figure")]
    assert images and all(image.attributes["role"] == "img" and image.attributes["aria-label"] for image in images)


def test_names_stay_text(attacked: pol.Verdict) -> None:
    html = read(page(attacked))
    assert attacked.result == "rejected"
    failed = [each.text for each in html.all("td") if "is off by" in each.text]
    assert any(HOSTILE in each for each in failed) and any(LONG in each for each in failed)
    stacks = next(each for each in html.all("table") if "stacks" in each.all("caption")[0].text)
    assert [each.text for each in stacks.all("th", scope="row")][:1] == [HOSTILE]
    assert any(HOSTILE in each.text for each in html.all("title")[1:]), "no mark tells the name under a pointer"
    assert HOSTILE in next(each.text for each in html.all("tr") if "earlier" in each.text)


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    seen = "".join(each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in text)
    html = read(str(element("p", element("span", text, class_=text), text)))
    (span,) = html.all("span")
    assert html.text == seen * 2 and span.attributes == {"class": seen}


def test_what_turns_text_around_is_taken_out() -> None:
    assert str(element("p", "a\u202eb\x00\n\u2066c\ud800")) == "<p>a\ufffdb\ufffd \ufffdc\ufffd</p>"


def test_markup_is_not_escaped_twice() -> None:
    assert bullets(["<", element("b", "&")]) == Markup("<ul><li>&lt;</li><li><b>&amp;</b></li></ul>")


# What it says.


@pytest.mark.parametrize(
    ("archive", "segments", "sentence"),
    [
        (
            (PASSED,),
            ((PASSED,),),
            "1 of 1 segments were replayed, and nothing that was checked speaks against the run.",
        ),
        ((), (), "0 of 0 segments were replayed: nothing was shown either way."),
        ((UNKNOWN,), ((FAILED,),), "Segment 0: it failed, and 1 more finding."),
        ((UNKNOWN,), ((PASSED,),), "It unknown."),
        ((), ((FAILED,), (FAILED, FAILED)), "Segment 0: it failed, and 2 more findings."),
    ],
    ids=["accepted", "nothing", "failure first", "unknown", "many"],
)
def test_one_sentence_says_why(
    archive: tuple[Outcome, ...], segments: tuple[tuple[Outcome, ...], ...], sentence: str, verdicts: Verdicts
) -> None:
    verdict = verdicts(archive, segments)
    assert why(verdict) == read(page(verdict)).all("p", class_="why")[0].text == sentence


def test_page_says_all_that_a_report_says(accepted: pol.Verdict) -> None:
    verdict = replace(accepted, unchecked=("initial",), earlier=("of head 3",), segments=4, odds=Odds(0.25, 0.5))
    text = read(page(verdict)).text
    wanted = [verdict.nonce.hex(), verdict.challenge.hex(), str(PROVER.key), verdict.run.hex(), verdict.policy]
    wanted += [verdict.archive.hex() if verdict.archive else "", *verdict.assumes, *report.NOT_SHOWN, "of head 3"]
    wanted += ["the check “initial”", "1 of 4 segments were not replayed", "met with probability 0.25"]
    wanted += [each.message for each in verdict.findings]
    assert len(verdict.assumes) > 1 and not [each for each in wanted if each not in text]


def test_page_counts_what_each_check_came_to(accepted: pol.Verdict) -> None:
    table = table_of(read(page(accepted)), "Findings on replayed segments")
    replays = len(accepted.judged) + len(accepted.pairs)
    assert ["replay", "passed", f"{replays} times"] in table and replays > len(accepted.judged) == 3


def test_reasons_are_shown_first_and_not_without_end(accepted: pol.Verdict) -> None:
    many = long(accepted, 80, *(replayed(index, 0.5, FAILED) for index in range(60)))
    html = read(page(many))
    assert html.all("h2")[0].text == "Why"
    assert len(table_of(html, "accepted: the first 50 of 60")) == 50
    assert not [each for each in read(page(accepted)).all("h2") if each.text == "Why"]


def test_stacks_say_what_differs(verdicts: Verdicts) -> None:
    html = read(page(verdicts((PASSED,), ((PASSED,),))))
    assert [each.text for each in html.all("strong")] == ["1"]
    assert table_of(html, "The stacks") == [["threads", "2", "1"], ["torch", "2", "2"]]


def table_of(html: Element, caption: str) -> list[list[str]]:
    """Return the body of the table with this caption."""
    (table,) = [each for each in html.all("table") if caption in each.all("caption")[0].text]
    return [[cell.text for cell in row.all("th", "td")] for row in table.all("tbody")[0].all("tr")]


# Replays.


@pytest.mark.parametrize(
    ("error", "allowed", "share"),
    [
        (0.05, 0.1, 0.5),
        (0.0, 0.1, 0.0),
        (0.0, 0.0, 0.0),
        (1e-9, 0.0, math.inf),
        (math.inf, 0.1, math.inf),
        (math.nan, 0.1, math.nan),
        (math.nan, 0.0, math.nan),
        (0.1, math.nan, math.nan),
        (0.0, math.nan, 0.0),
    ],
)
def test_share_of_what_is_allowed(error: float, allowed: float, share: float) -> None:
    assert Worst.of(replayed(0, error, allowed=allowed)).share == pytest.approx(share, nan_ok=True)


def test_worst_is_the_largest_share_and_no_number_is_worse() -> None:
    judged = replace(replayed(0, 0.0), errors={"a": 5.0, "b": 0.2, "c": 0.0}, allowed={"a": 10.0, "b": 0.1, "c": 0.0})
    assert Worst.of(judged).tensor == "b"
    assert Worst.of(replace(judged, errors={"a": math.inf, "b": math.nan, "c": 1.0})).tensor == "b"
    assert Worst.of(replace(judged, errors={})).tensor == ""


def test_every_replay_has_a_mark(accepted: pol.Verdict) -> None:
    html = read(page(long(accepted, 30, replayed(7, 0.4, FAILED), replayed(9, 0.05, UNKNOWN))))
    marks = html.all("figure")[0].all("svg")[0].all("path")
    kinds = [each.attributes["class"].split() for each in marks]
    assert [kinds.count([each]) for each in ("passed", "failed", "unknown")] == [28, 1, 1]
    assert [each.all("title")[0].text for each in marks if each.attributes["class"] == "failed"] == [
        "segment 7, steps 35 to 39: failed, error 0.4 in model/w, allowed 0.1"
    ]


def test_of_many_replays_the_worst_are_shown(accepted: pol.Verdict) -> None:
    bad = (replayed(1234, 0.4, FAILED), replayed(1235, math.nan, UNKNOWN), replayed(2000, 0.05))
    html = read(page(long(accepted, 5000, *bad)))
    figure = html.all("figure")[0].all("svg")[0]
    assert len(figure.all("path")) <= 400
    told = [each.text for each in figure.all("title")]
    assert any(each.startswith("segment 1,234, steps 6,170 to 6,174: failed, error 0.4") for each in told)
    rows = table_of(html, "The worst 200")
    assert len(rows) == 200 and {"1,234", "1,235", "2,000"} <= {row[0].partition("steps")[0] for row in rows}


def test_higher_on_the_picture_is_worse(accepted: pol.Verdict) -> None:
    errors = (0.0, 1e-6, 0.01, 0.1, 5.0, math.inf)
    html = read(page(long(accepted, len(errors), *(replayed(index, error) for index, error in enumerate(errors)))))
    marks = html.all("figure")[0].all("svg")[0].all("svg")
    heights = [float(each.attributes["y"]) for each in marks[: len(errors)]]
    assert heights == sorted(heights, reverse=True) and len(set(heights)) == len(errors)
    limit = html.all("figure")[0].all("line", class_="limit")[0]
    assert float(limit.attributes["y1"]) == heights[3], "what is just allowed lies on the line"


# Times and displacement.


def test_timeline_shows_each_stamped_head_and_each_segment(accepted: pol.Verdict) -> None:
    assert accepted.seen and accepted.seen.timeline
    figure = read(page(accepted)).all("figure")[1]
    assert len(figure.all("path", class_="passed stamp")) == len(accepted.seen.timeline.moments) == 4
    assert len(figure.all("line", class_="bar open")) == 3, "no segment says after which stamp it was made"
    bounded = replace(accepted.seen.timeline, after={2: accepted.seen.timeline.moments[1].earliest})
    figure = read(page(replace(accepted, seen=replace(accepted.seen, timeline=bounded)))).all("figure")[1]
    assert (len(figure.all("line", class_="bar")), len(figure.all("line", class_="bar open"))) == (1, 2)


@pytest.mark.parametrize("judge", ["no trust", "no authority"])
def test_log_without_times_shows_its_heads(judge: str, accepted: pol.Verdict) -> None:
    assert accepted.seen
    seen = None if judge == "no trust" else replace(accepted.seen, timeline=None)
    html = read(page(replace(accepted, seen=seen)))
    assert len(html.all("figure")[1].all("line", class_="head")) == len(accepted.heads) == 5
    assert ("no trust file was given" if judge == "no trust" else "no timestamp authority is believed") in html.text


def test_displacement_that_fails_is_marked(accepted: pol.Verdict) -> None:
    failed = Finding("joint", FAILED, "replay leaves 0.2 of the whole way in all unexplained", error=0.2, allowed=0.1)
    html = read(page(replace(accepted, unexplained=LATE, findings=(*accepted.findings, failed))))
    figure = html.all("figure")[2]
    assert len(figure.all("path", class_="failed")) == 3 and "in all: 0.2" in figure.text
    assert not read(page(accepted)).all("figure")[2].all("path", class_="failed")


def test_displacement_that_was_not_measured_is_said_to_be(verdicts: Verdicts) -> None:
    assert "Not measured: no replay was compared" in read(page(verdicts((), ((FAILED,),)))).text
