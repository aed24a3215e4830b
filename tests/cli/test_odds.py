"""Ask `polarc odds` as people and programs do: it shows what the measures say, and refuses what describes nothing."""

import subprocess
import sys

import pytest

from polarchive.cli.exits import Exit
from polarchive.measures.costs import WAYS
from polarchive.measures.odds import detection, draws_for
from tests.cli.test_cli import is_one_line, polarc

DRAW = ("odds", "draw", "--segments", 7813, "--draw", 20)
COSTS = ("odds", "costs", "--k", 10, "--steps", 78125, "--epoch", 390.625)
LAW = ("--mean", 1, "--variance", 0.0256, "--c", 0.5)
ALONE = """
import sys
from polarchive.cli.main import main
try:
    main(["odds", "draw", "--segments", "9", "--draw", "3"])
except SystemExit as end:
    assert not end.code
sys.exit("torch" in sys.modules or "scipy.stats" in sys.modules)
"""


def test_draw_tells_the_odds_of_one_bad_segment_and_of_a_tenth() -> None:
    told = polarc(*DRAW)
    assert told.code == Exit.OK and told.err == ""
    assert told.out.splitlines() == [
        "20 of 7813 segments drawn",
        "1 bad: met with probability 0.00256; 7735 draws reach 0.99",
        "782 bad: met with probability 0.879; 44 draws reach 0.99",
    ]


def test_draw_tells_a_program_all_digits() -> None:
    told = polarc(*DRAW, "--bad", 3, "--fraction", 0.5, "--reach", 0.9, "--json").json
    assert told == {
        "segments": 7813,
        "drawn": 20,
        "reach": 0.9,
        "bad": {str(bad): {"met": detection(7813, bad, 20), "draws": draws_for(7813, bad, 0.9)} for bad in (3, 3907)},
    }


def test_stability_tells_what_is_printed_and_what_is_proved() -> None:
    told = polarc("odds", "stability", *LAW, "--spoof-variance", 0.04)
    assert told.code == Exit.OK and "0.5204" in told.out and "0.03573" in told.out
    assert polarc("odds", "stability", *LAW, "--spoof-variance", 0.04, "--json").json.keys() == {"printed", "proved"}


def test_queries_tell_what_is_printed_and_what_is_proved() -> None:
    told = polarc("odds", "queries", *LAW)
    assert told.code == Exit.OK and "12 draws or more" in told.out and "10.17" in told.out


def test_what_is_no_number_is_a_word_to_a_program() -> None:
    told = polarc("odds", "queries", "--mean", 1, "--variance", 9, "--c", 0.5, "--json").json
    assert told == {"printed": "nan", "needed": 1.0, "issued": 1.0}
    assert polarc("odds", "queries", "--mean", 1, "--variance", 0, "--c", 0.5, "--json").json["needed"] == "inf"


def test_costs_are_a_table_and_an_object() -> None:
    lines = polarc(*COSTS).out.splitlines()
    assert [line[:30].strip() for line in lines] == ["", *WAYS] and lines[2].split()[-3:] == ["1", "7,812", "0.03333"]
    told = polarc(*COSTS, "--spoofed", 1000, "--top", 10, "--iterations", 1, "--json").json
    assert told["infinitesimal update"] == {"update": 1, "total": 100.0, "ratio": 100 / 234375}
    assert told["Zhang et al., attack 3"]["update"] == 44 and told["blindfold top-Q"]["update"] == pytest.approx(8.68)


@pytest.mark.parametrize("arguments", [
    ("odds",),
    ("odds", "draw"),
    ("odds", "draw", "--segments", 0, "--draw", 1),
    ("odds", "draw", "--segments", 5, "--draw", 1, "--bad", 7),
    ("odds", "draw", "--segments", 5, "--draw", 1, "--fraction", 1.5),
    ("odds", "draw", "--segments", 5, "--draw", 1, "--reach", "nan"),
    ("odds", "queries", "--mean", 0, "--variance", 1, "--c", 0.5),
    ("odds", "stability", *LAW, "--spoof-variance", -1),
    ("odds", "costs", "--k", 10, "--steps", 100, "--epoch", 0),
    ("odds", "costs", "--k", 10, "--steps", 100, "--epoch", "nan"),
], ids=lambda arguments: " ".join(map(str, arguments)))  # fmt: skip
def test_what_describes_nothing_is_refused(arguments: tuple[object, ...]) -> None:
    refused = polarc(*arguments)
    assert refused.code == Exit.USAGE and refused.out == "" and "Traceback" not in refused.err
    assert is_one_line(refused.err) or refused.err.startswith("Usage:")


def test_odds_need_nothing_that_takes_long_to_load() -> None:
    assert subprocess.run([sys.executable, "-c", ALONE], stdout=subprocess.DEVNULL, check=False).returncode == 0
