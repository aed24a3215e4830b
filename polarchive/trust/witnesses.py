"""Judge an archive's cosignatures: which heads the witnesses that a judge knows have seen, and when."""

from collections.abc import Mapping
from pathlib import Path

from polarchive.format import container, cosignature
from polarchive.format.archive import Archive
from polarchive.format.cosignature import Cosigned, WitnessKey
from polarchive.trust.trust import Trust


def cosigned(archive: Archive, trust: Trust) -> Mapping[int, tuple[Cosigned, ...]]:
    """Return by the sizes of heads which of the judge's witnesses cosigned them; sizes that none did are left out.

    SignatureError if a line of a known witness does not verify, FormatError if a line is none.
    """
    texts = {head.size: head.text for head in archive.heads}
    found = {
        size: cosignature.read(data, texts[size], trust.witnesses, container.cosignatures_name(size))
        for size, data in sorted(archive.attached.cosignatures.items())
    }
    return {size: by for size, by in found.items() if by}


def load_witness(path: str | Path) -> WitnessKey:
    """Read a witness's verifier line at `path`."""
    return WitnessKey.parse(Path(path).read_text(encoding="ascii", errors="replace"), str(path))
