"""Make verdicts for pages, one of a run with hostile names among them, and read pages strictly."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

import polarchive as pol
from polarchive.verification.drift import Unexplained
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.verdict import Judged
from tests import disputes
from tests.simulator import PROVER
from tests.workloads import CONVNET, Batch, Workload, descend, trainer_of

HOSTILE: Final = '"><img src=x onerror=alert(1)><script>alert(2)<!--'
LONG: Final = "w" * 300
_ALONE: Final = {"meta"}
_TAGS: Final = """
    html head meta title style body main header footer section h1 h2 p div span strong code ul li figure figcaption
    details summary table caption thead tbody tr th td svg path line text
"""


class Hostile(nn.Module):
    """Name parameters as an attacker would who wants them to be read as HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module(HOSTILE, nn.Linear(4, 4))
        self.add_module(LONG, nn.Linear(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        for _, part in self.named_children():
            x = part(x)
        return x


def build_hostile(header: object, device: str, scale: float = 1.0) -> pol.TorchTrainer:
    model = Hostile()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    return trainer_of(model, optimizer, lambda batch: descend(optimizer, scale * model(batch[0]).square().mean()))


def rows(step: int) -> Batch:
    return (torch.randn(8, 4, generator=torch.Generator().manual_seed(step)),)


def hostile(folder: Path) -> pol.Verdict:
    """Reject a real run whose names are hostile, and whose prover says hostile things of its stack."""
    honest = Workload(build_hostile, rows, every=2, steps=4)
    honest.record(folder)
    judge = replace(honest, build=lambda header, device: build_hostile(header, device, 2.0))
    said = {HOSTILE: HOSTILE, LONG: LONG, "threads": "1"}
    name = f"{HOSTILE.replace(' ', '/')}+{'0' * 8}+{LONG}"
    return replace(judge.judge(folder), recorded_on=said, signer=name, earlier=(HOSTILE, LONG))


def stamped(run: Path, target: Path, policy: pol.Policy | None = None) -> pol.Verdict:
    """Judge an honest run of CONVNET, whose stamps show it growing."""
    disputes.sealed(run, target, disputes.GROWING)
    with pol.open(target, trusted=[PROVER.key]) as archive:
        secret, trust = pol.read_secret(run / "secret"), disputes.trust()
        return pol.verify(archive, CONVNET.build, CONVNET.batches, secret=secret, trust=trust, policy=policy)


def replayed(index: int, error: float, outcome: Outcome = Outcome.PASSED, allowed: float = 0.1) -> Judged:
    """Return a replay of five steps with one error."""
    finding = Finding("replay", outcome, f"model/w is off by {error:.3g}", index, None, "model/w", error, allowed)
    return Judged(index, 5 * index, 5, (finding,), {"model/w": error}, allowed={"model/w": allowed})


def long(verdict: pol.Verdict, segments: int, *others: Judged) -> pol.Verdict:
    """Return a verdict on many replays with the same small error, and a few others in their places."""
    judged = {index: replayed(index, 0.01) for index in range(segments)} | {each.index: each for each in others}
    way = Unexplained(0.001, 0.02, 0.02, 5.0, segments)
    long = replace(verdict, judged=tuple(judged.values()), pairs=(), segments=segments, unexplained=way)
    return replace(long, heads=tuple(range(1, segments + 3)))


@dataclass
class Element:
    """Hold an element of a page."""

    tag: str
    attributes: dict[str, str]
    parts: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    def all(self, *tags: str, **attributes: str) -> list["Element"]:
        """Return the elements below this one, in order, of some tags and with these attributes."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [each for each in self._below() if each.tag in tags and wanted.items() <= each.attributes.items()]

    def _below(self) -> Iterator["Element"]:
        for part in self.parts:
            if isinstance(part, Element):
                yield part
                yield from part._below()


class Reader(HTMLParser):
    """Read a page, and fail on what is not closed, not expected, or closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        assert tag in _TAGS.split(), f"<{tag}> does not belong here"
        given: dict[str, Any] = dict(attrs)
        assert not [name for name in given if name.startswith("on") or name in ("src", "href", "style")]
        element = Element(tag, given)
        self.open[-1].parts.append(element)
        if tag not in _ALONE:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].parts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def read(page: str) -> Element:
    """Return the html element of a page."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert len(reader.open) == 1, f"<{reader.open[-1].tag}> is not closed"
    (html,) = [part for part in reader.open[0].parts if isinstance(part, Element)]
    return html
