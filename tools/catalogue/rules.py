"""Make coded states whose groups follow from others by a rule, whole and broken."""

import struct
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from polarchive.errors import Reason
from polarchive.format.arithmetic import compute, widened
from polarchive.format.canonical import Json
from polarchive.format.formula import Formula, Source
from polarchive.format.tensors import Array
from tests.simulator import State
from tools.catalogue import OK, Made, Make, vector
from tools.catalogue.coded import Group, coded, gives, group, like, raw, streams, words

SPEC = "Formulas"
P, STATE = ["", ""], ["optimizer/", "/momentum_buffer"]
HALF = "f3fe0000000000000"
SGD = ["old0", "new1", "fbfe0000000000000", "*", "+"]
STRANGE = [0x7F800000, 0xFF800000, 0x7F800001, 0xFFC01234, 0, 0x80000000, 1, 0x80000001, 0x007FFFFF, 0x7F7FFFFF]


def good(make: Make) -> Make:
    """Enter a coded state that every reader accepts."""
    return vector("coded", OK, SPEC)(make)


def bad(make: Make) -> Make:
    """Enter a coded state whose rule does not fit its tensors."""
    return vector("coded", Reason.CODING, SPEC)(make)


def malformed(make: Make) -> Make:
    """Enter a coded state whose rule is none."""
    return vector("coded", Reason.FIELD, SPEC)(make)


def tensor(numbers: npt.ArrayLike, dtype: str = "F32") -> Array:
    """Return a tensor of one dimension."""
    found = np.asarray(numbers, {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I32": "<i4"}[dtype])
    return Array(dtype, found.shape, found.tobytes())


W = tensor(np.arange(-32, 32) / 8)
V = tensor(np.arange(64) / 4)
MOVED = tensor(np.arange(-32, 32) / 8 - np.arange(64) / 8)
BASE: State = {"model/w": W, "optimizer/model/w/momentum_buffer": tensor(np.zeros(64))}
NEW: State = {"model/w": MOVED, "optimizer/model/w/momentum_buffer": V}
MOMENTUM = raw({"optimizer/model/w/momentum_buffer": V})
EXACT = streams([0] * 64)


def ruled(state: State, formula: Json, *names: Json, distances: Iterable[int] | None = None, width: int = 32) -> Group:
    """Return a group of tensors that follow by a rule, exactly if not at these distances."""
    count = sum(len(words(array)) for array in state.values())
    found = streams([0] * count if distances is None else distances, width=width)
    return group("rule", state, *found, rule={"formula": formula, "names": list(names)})


@good
def rule_of_sgd() -> Made:
    """Weights follow exactly from their momentum, as in the example."""
    return gives(NEW, MOMENTUM, ruled({"model/w": MOVED}, SGD, P, STATE), state=BASE)


@good
def rule_that_is_off() -> Made:
    """Every weight is one step above what its rule predicts."""
    above = like(MOVED, words(MOVED) + np.uint32(1))
    made = ruled({"model/w": above}, SGD, P, STATE, distances=[2] * 64)
    return gives({**NEW, "model/w": above}, MOMENTUM, made, state=BASE)


@good
def rule_of_two_tensors() -> Made:
    """Two tensors of one group have momenta in two groups before it."""
    state = {**NEW, "model/v": MOVED, "optimizer/model/v/momentum_buffer": V}
    base = {**BASE, "model/v": W}
    other = raw({"optimizer/model/v/momentum_buffer": V})
    both = ruled({"model/w": MOVED, "model/v": MOVED}, SGD, P, STATE)
    return gives(state, other, MOMENTUM, both, state=base)


@good
def rule_of_a_narrow_copy() -> Made:
    """Weights of BF16 are those of another part, rounded: up, down, to even, to infinity, and to the one NaN."""
    wide = np.array([0x3F800000, 0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, *STRANGE] * 5, "<u4")
    master = Array("F32", wide.shape, wide.tobytes())
    copied = compute(Formula(("new0",)), "BF16", {Source(True, 0): widened(wide, "F32")})
    state = {"master/w": master, "model/w": Array("BF16", wide.shape, copied.tobytes())}
    made = ruled({"model/w": state["model/w"]}, ["new1"], ["model/", ""], ["master/", ""], width=16)
    return gives(state, raw({"master/w": master}), made, base=None)


def computed(dtype: str, formula: list[str], old: Array, new: Array) -> Made:
    """Return a state in which a tensor follows from one of the base and another of its own."""
    numbers = {Source(False, 0): widened(words(old), old.dtype), Source(True, 1): widened(words(new), new.dtype)}
    found = compute(Formula(tuple(formula)), dtype, numbers)
    state = {"p.": new, "p": Array(dtype, old.shape, found.tobytes())}
    made = ruled({"p": state["p"]}, formula, P, ["", "."], width=8 * found.itemsize)
    return gives(state, raw({"p.": new}), made, state={"p": old})


def strange(dtype: str) -> tuple[Array, Array]:
    """Return two tensors in which all pairs of numbers occur that are hard to compute with."""
    found = np.array([*STRANGE, *np.array([1, -1, 1.5, 3, 1e-30], "<f4").view("<u4")], "<u4").view("<f4")
    with np.errstate(all="ignore"):
        found = found.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype])
    both = np.repeat(found, len(found)), np.tile(found, len(found))
    return tensor(both[0], dtype), tensor(both[1], dtype)


@good
def rule_that_adds_what_is_strange() -> Made:
    """Sums of zeros, subnormal numbers, infinities and NaNs."""
    return computed("F32", ["old0", "new1", "+"], *strange("F32"))


@good
def rule_that_subtracts_what_is_strange() -> Made:
    """Differences of them in F64."""
    return computed("F64", ["old0", "new1", "-"], *strange("F64"))


@good
def rule_that_multiplies_what_is_strange() -> Made:
    """Their products, some of which are subnormal."""
    return computed("F32", ["old0", "new1", "*"], *strange("F32"))


@good
def rule_that_divides_what_is_strange() -> Made:
    """Their quotients, by zero too."""
    return computed("F32", ["old0", "new1", "/"], *strange("F32"))


@good
def rule_that_takes_strange_roots() -> Made:
    """Their roots, of negative numbers too, rounded to F16."""
    return computed("F16", ["old0", "new1", "*", "sqrt"], *strange("F16"))


@good
def rule_that_rounds() -> Made:
    """Every rounding there is, one after the other, in the middle of a formula."""
    old, new = tensor(np.geomspace(1e-9, 1e5, 96)), tensor(np.linspace(-3, 3, 96), "F64")
    return computed("F64", ["old0", "F32", "BF16", "new1", "/", "F16", "new1", "*", "F32"], old, new)


@good
def rule_of_most_steps() -> Made:
    """Sixty-four steps, and eight numbers on the stack."""
    formula = ["old0", *["copy"] * 7, *["+"] * 7, *["new1", "+"] * 24, "sqrt"]
    return computed("BF16", formula, tensor(np.arange(64)), tensor(np.arange(64)))


@good
def rule_of_most_names() -> Made:
    """Eight names, the last of which is read, and another that no tensor has."""
    made = ruled({"p": W}, ["old7"], P, *[["nobody", ""]] * 6, ["", "q"])
    return gives({"p": W}, made, state={"pq": W})


@good
def rule_of_no_elements() -> Made:
    """A tensor without elements follows from another, and one without dimensions."""
    empty, one = Array("F32", (0, 3), b""), Array("F32", (), struct.pack("<f", 2))
    state = {"e": empty, "s": one, "w": W}
    made = ruled({"w": W, "e": empty, "s": one}, ["old0"], P)
    return gives(state, made, state=state)


@good
def rule_of_a_name_between() -> Made:
    """The parameter's name is no characters between those before and after it."""
    return gives({"ab": W}, ruled({"ab": W}, ["old1"], ["a", "b"], ["c", ""]), state={"c": W})


def wrong(formula: Json, *names: Json) -> Made:
    """Return a state of a rule that is none."""
    return coded(MOMENTUM, ruled({"model/w": MOVED}, formula, *names), state=BASE)


@malformed
def rule_of_an_unknown_step() -> Made:
    """A step that takes a power."""
    return wrong([*SGD[:-1], "pow"], P, STATE)


@malformed
def rule_of_a_ninth_tensor() -> Made:
    """A step reads tensor 8 of the base."""
    return wrong(["old8"], P, *[STATE] * 7)


@malformed
def rule_of_a_tensor_without_a_name() -> Made:
    """A step reads tensor 1, and there is a name of tensor 0 only."""
    return wrong(SGD, P)


@malformed
def rule_of_an_infinite_constant() -> Made:
    """A constant is infinite."""
    return wrong(["old0", "f7ff0000000000000", "+"], P)


@malformed
def rule_of_an_integer() -> Made:
    """A constant is an integer."""
    return wrong(["old0", "i3", "*"], P)


@malformed
def rule_of_a_number() -> Made:
    """A step is nothing at all."""
    return wrong(["old0", None], P)


@malformed
def rule_of_65_steps() -> Made:
    """A formula of sixty-five steps."""
    return wrong(["old0", *["F32"] * 64], P)


@malformed
def rule_of_nine_numbers() -> Made:
    """Nine numbers are on the stack."""
    return wrong(["old0", *["copy"] * 8, *["+"] * 8], P)


@malformed
def rule_of_too_few_numbers() -> Made:
    """A sum of one number."""
    return wrong(["old0", "+", "old0"], P)


@malformed
def rule_that_copies_nothing() -> Made:
    """The first step copies what is not there."""
    return wrong(["copy", "old0", "+"], P)


@malformed
def rule_that_leaves_two_numbers() -> Made:
    """Two numbers are left."""
    return wrong(["old0", "old0"], P)


@malformed
def rule_of_no_steps() -> Made:
    """A formula has no steps."""
    return wrong([], P)


@malformed
def rule_that_reads_nothing() -> Made:
    """A formula of constants only."""
    return wrong([HALF, HALF, "+"], P)


@malformed
def rule_of_no_names() -> Made:
    """A rule has no names."""
    return wrong(["old0"])


@malformed
def rule_of_nine_names() -> Made:
    """A rule has nine names."""
    return wrong(["old0"], *[P] * 9)


@malformed
def rule_of_half_a_name() -> Made:
    """A name is only what stands before."""
    return wrong(["old0"], [""])


@malformed
def rule_of_a_name_of_three() -> Made:
    """A name is of three texts."""
    return wrong(["old0"], ["", "", ""])


@malformed
def rule_of_a_name_that_is_a_text() -> Made:
    """A name is one text."""
    return wrong(["old0"], "model/")


def told(model: str, rule: Json, top: int = 0) -> Made:
    """Return a state of weights that are said to be coded so."""
    return coded(MOMENTUM, group(model, {"model/w": MOVED}, *EXACT, rule=rule, top=top), state=BASE)


@malformed
def rule_with_more() -> Made:
    """A rule has a field that this version does not know."""
    return told("rule", {"formula": SGD, "names": [P, STATE], "rate": HALF})


@malformed
def rule_of_a_list() -> Made:
    """A rule is a list."""
    return told("rule", [SGD, [P, STATE]])


@bad
def rule_missing() -> Made:
    """A group follows by a rule, and has none."""
    return told("rule", None)


@bad
def rule_of_near() -> Made:
    """A group of differences has a rule."""
    return told("near", {"formula": SGD, "names": [P, STATE]})


@bad
def rule_with_a_top() -> Made:
    """A group that follows by a rule has a top."""
    return told("rule", {"formula": SGD, "names": [P, STATE]}, top=1)


@bad
def rule_from_itself() -> Made:
    """A tensor follows from itself."""
    return wrong(["new0"], P)


@bad
def rule_from_a_later_group() -> Made:
    """The momentum comes after the weights that follow from it."""
    return coded(ruled({"model/w": MOVED}, SGD, P, STATE), MOMENTUM, state=BASE)


@bad
def rule_from_a_tensor_that_is_not_there() -> Made:
    """The base has no such tensor."""
    return wrong(["old1"], P, ["optimizer/", "/exp_avg"])


@bad
def rule_without_a_base() -> Made:
    """A tensor follows from the base's, and there is no base."""
    return coded(MOMENTUM, ruled({"model/w": MOVED}, SGD, P, STATE), base=None)


@bad
def rule_from_another_shape() -> Made:
    """A tensor follows from one of as many elements in another shape."""
    state = {**BASE, "model/w": Array("F32", (8, 8), W.data)}
    return coded(MOMENTUM, ruled({"model/w": MOVED}, SGD, P, STATE), state=state)


@bad
def rule_from_integers() -> Made:
    """A tensor follows from integers."""
    base = {**BASE, "model/w": Array("I32", (64,), W.data)}
    return coded(ruled({"model/w": MOVED}, ["old0"], P), state=base)


@bad
def rule_of_integers() -> Made:
    """Integers follow from floats."""
    return coded(ruled({"model/w": Array("U32", (64,), W.data)}, ["old0"], P), state=BASE)


@bad
def rule_from_two_dtypes() -> Made:
    """Two tensors of a group follow from tensors of two dtypes."""
    base = {"v": tensor(np.zeros(64), "F64"), "w": W}
    return coded(ruled({"v": W, "w": W}, ["old0"], P), state=base)


@bad
def rule_of_another_name() -> Made:
    """The name of a tensor does not begin as its rule says."""
    return wrong(["old0"], ["optimizer/", ""])


@bad
def rule_of_a_name_that_overlaps() -> Made:
    """A tensor is named `aba`, and its rule says that `ab` comes before and `ba` after."""
    return coded(ruled({"aba": W}, ["old1"], ["ab", "ba"], ["", "w"]), state={"w": W})
