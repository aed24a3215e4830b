"""Name forgeries, with what the judge must say of each: every check has one that only it refuses."""

from dataclasses import replace
from functools import partial
from typing import Any, Final

import torch

import polarchive as pol
from polarchive.verification.checks.indices import Indices
from polarchive.verification.checks.joint import Joint
from polarchive.verification.checks.reachable import reachable
from polarchive.verification.checks.schedule import Schedule
from polarchive.verification.finding import Outcome
from polarchive.verification.selections import Range
from tests.forging import ALONE, RECORDS, STRICT, Forgery, Indexed, at, by_rows, during
from tests.lies import (
    IMAGES_ONLY,
    Steered,
    comparing_with_stolen,
    dim_but_one,
    far_and_back,
    favourite_again,
    glaring,
    knowing_parent,
    momentum_toward_stolen,
    more,
    of_step,
    only,
    scaled,
    small_second_moments_zeroed,
    stolen,
    swapped_batches,
    swapped_records,
    toward_stolen,
    weights_of,
    weights_toward_stolen,
    with_dim_schema,
    with_label,
    with_nan,
    with_parent,
    with_pixel,
    with_settings,
    without,
)
from tests.workloads import CONVNET, TRANSFORMER, build_convnet

EXACT: Final = replace(ALONE, threshold=pol.Fixed(0.0))
MOMENTUM: Final = "optimizer/model/conv1.weight/momentum_buffer"
ADAM, SMALL = "optimizer/model/head.weight", "optimizer/model/layers.0.attention.q.weight"


def asking(**changes: Any) -> pol.Policy:
    return replace(ALONE, **changes)


def bounding(**bounds: Any) -> pol.Policy:
    return asking(of_case=(ALONE.of_case[0], Schedule(**bounds)))


SCHEDULED = replace(CONVNET, build=partial(build_convnet, schedule=lambda step: build_convnet(None, "cpu").hyper()))

CATALOGUE = {
    # What the record says was fed, against what the judge sees fed.
    "one changed pixel": Forgery(check="openings", step=13, shown=at(13, with_pixel)),
    "one changed label": Forgery(check="openings", step=13, shown=at(13, with_label)),
    "two records in another order": Forgery(check="openings", step=13, shown=at(13, swapped_records)),
    "two batches in another order": Forgery(check="openings", step=13, shown=swapped_batches),
    "batch of another step": Forgery(check="openings", step=13, shown=at(13, of_step(20))),
    "wrong secret": Forgery(check="openings", segments=(0, 1, 2), step=24, secret=lambda secret: bytes(32)),
    # Data that are committed to, and that no judge should take.
    "batch outside its own schema": Forgery(
        check="schema", step=13, of=replace(CONVNET, batches=dim_but_one), prepare=with_dim_schema
    ),
    "schema that allows anything": Forgery(
        check="schema",
        asked="demanded",
        segments=(None,),
        of=replace(CONVNET, batches=glaring),
        policy=asking(of_archive=(*ALONE.of_archive, IMAGES_ONLY)),
    ),
    "record that comes twice in an epoch": Indexed(
        check="indices",
        step=13,
        rows=favourite_again,
        judge=replace(CONVNET, batches=by_rows),
        policy=asking(of_archive=(*ALONE.of_archive, Indices(RECORDS))),
    ),
    # What the record says was fed, against what was.
    "fed another batch": Forgery(check="replay", tensor="model/bn1.running_mean", fed=at(23, of_step(20))),
    "fed a changed pixel": Forgery(check="replay", tensor="model/conv1.weight", fed=at(23, with_pixel), policy=EXACT),
    # Settings other than recorded.
    "false learning rate": Forgery(check="replay", tensor="model/conv1.weight", hyper=at(23, with_settings(lr=0.2))),
    "false momentum": Forgery(check="replay", tensor=MOMENTUM, hyper=at(23, with_settings(momentum=0.1))),
    "false nesterov": Forgery(
        check="replay",
        tensor="model/conv1.weight",
        hyper=during(1, with_settings(nesterov=True)),
        policy=asking(of_case=(ALONE.of_case[0],)),
    ),
    "false weight decay": Forgery(
        check="replay", tensor=MOMENTUM, hyper=at(23, with_settings(weight_decay=0.0)), policy=EXACT
    ),
    # Settings as recorded, which no judge should take.
    "rate off the schedule": Forgery(check="schedule", step=13, settings=only(13, lr=0.2), judge=SCHEDULED),
    "negative rate": Forgery(check="schedule", step=13, settings=only(13, lr=-0.05)),
    "momentum of one": Forgery(check="schedule", step=13, settings=only(13, momentum=1.0)),
    "decay that erases": Forgery(check="schedule", step=13, settings=only(13, weight_decay=30.0)),
    "decay that momentum repeats": Forgery(check="schedule", step=13, settings=only(13, weight_decay=0.5)),
    "rate above the judge's": Forgery(check="schedule", step=13, settings=only(13, lr=0.07), policy=bounding(lr=0.06)),
    "rate that jumps": Forgery(check="schedule", step=13, settings=only(13, lr=0.2), policy=bounding(change=2.0)),
    "step on few records": Forgery(
        check="schedule",
        step=13,
        policy=bounding(records=8),
        of=replace(
            CONVNET, batches=lambda step: tuple(part[: 4 if step == 13 else 8] for part in CONVNET.batches(step))
        ),
    ),
    "segments longer than the judge's": Forgery(check="schedule", segments=(0,), step=0, policy=bounding(steps=6)),
    # States that training did not make.
    "changed weight": Forgery(
        check="replay", tensor="model/conv1.weight", state=at(2, scaled("model/conv1.weight", 2))
    ),
    "one weight off by a bit": Forgery(
        check="replay", tensor="model/linear.bias", state=at(2, scaled("model/linear.bias", 1 + 2**-22)), policy=EXACT
    ),
    "changed running mean": Forgery(
        check="replay", tensor="model/bn1.running_mean", state=at(2, scaled("model/bn1.running_mean", 2))
    ),
    "changed momentum": Forgery(check="replay", tensor=MOMENTUM, state=at(2, scaled(MOMENTUM, 2))),
    "changed second moment": Forgery(
        check="replay", tensor=f"{ADAM}/exp_avg_sq", state=at(2, scaled(f"{ADAM}/exp_avg_sq", 0)), of=TRANSFORMER
    ),
    "Adam's counter off by one": Forgery(
        check="counters", tensor=f"{ADAM}/step", state=at(2, more(f"{ADAM}/step", 1)), of=TRANSFORMER
    ),
    "batch counter off by one": Forgery(
        check="counters",
        tensor="model/bn1.num_batches_tracked",
        state=at(2, more("model/bn1.num_batches_tracked", 1)),
    ),
    "missing momentum": Forgery(check="replay", tensor=MOMENTUM, state=at(2, without(MOMENTUM))),
    "extra tensor": Forgery(
        check="replay",
        segments=(2,),
        tensor="model/backdoor",
        state=at(3, lambda state: {**state, "model/backdoor": torch.ones(3)}),
    ),
    "reshaped tensor": Forgery(
        check="replay",
        segments=(2,),
        tensor="model/linear.bias",
        state=at(3, lambda state: {**state, "model/linear.bias": state["model/linear.bias"].view(2, 5)}),
    ),
    "NaN": Forgery(
        check="replay",
        segments=(2,),
        tensor="model/bn2.running_var",
        state=at(3, with_nan("model/bn2.running_var")),
    ),
    "infinitesimal updates": Forgery(
        check="replay",
        segments=(0, 1, 2),
        tensor="model/conv2.weight",
        settings=lambda step, hyper: with_settings(lr=1e-12)(hyper),
        state=toward_stolen,
    ),
    # What a tenth of an update would allow, if any update and any pool counted: large ones are any distance.
    "jump within the tolerance": Forgery(
        check="replay",
        tensor="model/conv1.weight",
        settings=far_and_back,
        policy=bounding(decay=1e300),
        state=lambda index, state: weights_of(state, stolen()) if index > 1 else state,
    ),
    "second moment far below those of its kind": Forgery(
        check="replay",
        tensor=f"{SMALL}/exp_avg_sq",
        state=at(2, scaled(f"{SMALL}/exp_avg_sq", 0)),
        of=TRANSFORMER,
    ),
    # What any one segment is allowed, spent in every one.
    "steered weights": Forgery(
        check="joint",
        segments=(None,),
        of=replace(CONVNET, every=3, steps=72),
        state=Steered(0.06, weights_toward_stolen),
        policy=STRICT,
    ),
    "steered momentum": Forgery(
        check="joint",
        segments=(None,),
        of=replace(CONVNET, every=3, steps=72),
        state=Steered(0.09, momentum_toward_stolen),
        policy=replace(STRICT, in_a_row=0),
    ),
    "second moments that are small, zeroed": Forgery(
        check="pairs",
        segments=(0,),
        tensor="model/layers.0.mlp.0.weight",
        state=at(1, small_second_moments_zeroed),
        of=TRANSFORMER,
        policy=replace(STRICT, of_whole=(Joint(kept=1e300),)),
    ),
    # What is not replayed.
    "jump that Adam cannot make": Forgery(
        check="reachable",
        tensor="model/tokens.weight",
        state=at(2, scaled("model/tokens.weight", 2)),
        of=TRANSFORMER,
        policy=asking(selection=Range(0, 1), of_archive=(*ALONE.of_archive, reachable)),
    ),
    # Where it begins and ends.
    "stolen state 0": Forgery(
        check="initial", segments=(None,), tensor="model/conv1.weight", state=at(0, lambda state: stolen())
    ),
    "unexplained state 0": Forgery(check="initial", segments=(None,), outcome=Outcome.UNKNOWN, seed=None),
    "stolen state 0 with an honest parent": Forgery(
        check="initial",
        segments=(None,),
        tensor="model/bn1.bias",
        prepare=with_parent,
        state=at(0, lambda state: stolen()),
        seed=None,
        policy=knowing_parent,
    ),
    "released model of another run": Forgery(
        check="released", segments=(None,), tensor="conv1.weight", policy=comparing_with_stolen
    ),
    "no end": Forgery(check="end", segments=(None,), outcome=Outcome.UNKNOWN, finished=False),
}
