"""Ask whether batches are what they may be: an adversary who may choose data freely can steer with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from polarchive.format.archive import Archive
from polarchive.format.schema import Field, Schema
from polarchive.verification.evidence import Evidence
from polarchive.verification.finding import Finding, Outcome, passed

CHECK: Final = "schema"


def schema(evidence: Evidence) -> Iterator[Finding]:
    """Report the first step with a batch that the header's schema excludes."""
    if evidence.refused_by == CHECK:
        yield Finding(CHECK, Outcome.FAILED, evidence.refused or "", evidence.segment, evidence.refused_at)
    elif evidence.refused is None:
        yield passed(CHECK, "every batch fits the schema", evidence.segment)


@dataclass(frozen=True, slots=True)
class Demanded:
    """Hold the header's schema to one of the judge's, which it may narrow: a prover's own may allow anything."""

    schema: Schema

    def __call__(self, archive: Archive) -> Iterator[Finding]:
        """Report every field that only one of the schemas has, or that the header's leaves wider."""
        stated, wanted = ({field.name: field for field in each.fields} for each in (archive.header.schema, self.schema))
        wrong = False
        for name in sorted(stated.keys() | wanted.keys()):
            if name not in stated or name not in wanted:
                wrong = True
                yield Finding(CHECK, Outcome.FAILED, f"field {name} is not both in the schema and in the judge's")
            elif not _fits(stated[name], wanted[name]):
                wrong = True
                yield Finding(CHECK, Outcome.FAILED, f"field {name}: {_said(stated[name])}, not {_said(wanted[name])}")
        if not wrong:
            yield passed(CHECK, "the schema allows nothing that the judge's does not")


def _fits(stated: Field, wanted: Field) -> bool:
    same = (stated.dtype, stated.level, len(stated.shape)) == (wanted.dtype, wanted.level, len(wanted.shape))
    return (
        same
        and all(want in (None, dim) for dim, want in zip(stated.shape, wanted.shape, strict=True))
        and (
            (wanted.low is None or (stated.low is not None and stated.low >= wanted.low))
            and (wanted.high is None or (stated.high is not None and stated.high <= wanted.high))
        )
    )


def _said(field: Field) -> str:
    shape = ", ".join("any" if dim is None else str(dim) for dim in field.shape)
    return f"{field.level} {field.dtype} ({shape}) in [{field.low}, {field.high}]"
