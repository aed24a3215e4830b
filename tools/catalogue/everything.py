"""Load every part of the catalogue."""

from tools.catalogue import (  # noqa: F401
    coded,
    containers,
    entries,
    good,
    indexes,
    journals,
    large,
    logs,
    notes,
    proofs,
    rules,
    stamps,
    tensor_files,
    texts,
)
