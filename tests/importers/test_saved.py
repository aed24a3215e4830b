"""Read what torch.save and numpy write as they read it themselves, and refuse everything else in one line."""

import io
import os
import pickle
import random
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from polarchive.errors import PolError
from polarchive.importers import saved
from polarchive.importers.pickled import Machine
from tests.importers.published import Net

TIED = torch.randn(4)
WIDE = torch.arange(24.0).reshape(2, 3, 4)


def state(**more: Any) -> dict[str, Any]:
    return {"net": {"weight": torch.randn(3, 2)}, **more}


def optimizer_state(make: Any) -> dict[str, Any]:
    net = Net()
    optimizer = make(net.parameters(), lr=0.1)
    net(torch.randn(4, 3, 8, 8)).sum().backward()
    optimizer.step()
    found: dict[str, Any] = optimizer.state_dict()
    return found


def written(folder: Path, content: Any) -> Path:
    torch.save(content, folder / "model_step_0")
    return folder / "model_step_0"


def rewritten(path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a file of torch.save anew, each member changed."""
    with zipfile.ZipFile(path) as old:
        members = [(name, change(name, old.read(name))) for name in old.namelist()]
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, data in members:
            new.writestr(name, data)
    return path


def with_program(path: Path, program: bytes) -> Path:
    """Put another pickle in place of a file's own."""
    return rewritten(path, lambda name, data: program if name.endswith("/data.pkl") else data)


def same(one: Any, other: Any) -> bool:
    """Compare nested containers, tensors by dtype, shape and value."""
    if isinstance(one, torch.Tensor):
        return (one.dtype, one.shape) == (other.dtype, other.shape) and one.equal(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize(
    "content",
    [
        {"net": Net().state_dict()},
        {"optimizer": optimizer_state(torch.optim.AdamW), "scheduler": {"milestones": Counter({3: 1, 7: 2})}},
        {"optimizer": optimizer_state(torch.optim.SGD)},
        {name: torch.ones(3).to(getattr(torch, name)) for name in ("float16", "bfloat16", "float64", "int64", "int32")},
        {
            "views": WIDE[:, 1:, ::2],
            "turned": WIDE.permute(2, 0, 1),
            "scalar": WIDE[1, 2, 3],
            "empty": torch.empty(0, 3),
        },
        {"tied": TIED, "again": TIED},
        {"texts": ["a", "β"], "numbers": (1, -1, 1 << 40, 0.5, None, True), "deep": [[[{}]]]},
        OrderedDict(a=OrderedDict(b=1)),
    ],
    ids=lambda content: next(iter(content)),
)
def test_what_torch_saves_is_read_as_torch_reads_it(content: Any, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    assert same(saved.tensors(path), torch.load(path, weights_only=True))


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch owned",)


class Opened:
    def __reduce__(self) -> Any:
        return open, ("owned", "w")


PROGRAM = b"\x80\x02"
HOSTILE: dict[str, tuple[bytes, str]] = {
    "system": (pickle.dumps({"net": Evil()}, 2), "posix.system"),
    "system of protocol 4": (pickle.dumps({"net": Evil()}, 4), "opcode"),
    "open": (pickle.dumps({"net": Opened()}, 2), "open"),
    "eval": (PROGRAM + b"cbuiltins\neval\n(X\x01\x00\x00\x001tR.", "builtins.eval"),
    "instance": (PROGRAM + b"(X\x01\x00\x00\x001ios\nsystem\n.", "opcode INST"),
    "extension": (PROGRAM + b"\x82\x01.", "opcode EXT1"),
    "import of torch": (PROGRAM + b"ctorch\nload\nX\x01\x00\x00\x00x\x85R.", "torch.load"),
    "escape sequences in a name": (PROGRAM + b"c\x1b[2J\nx\n.", "holds [2J.x"),
    "call of a container": (PROGRAM + b"}}R.", "calls"),
    "call of a storage": (PROGRAM + b"ctorch\nFloatStorage\n)R.", "calls"),
    "place in the memo beyond all memory": (PROGRAM + b"}r\xff\xff\xff\x7f0.", "opcode POP"),
    "nothing": (b"", "pickle"),
    "no end": (PROGRAM + b"}", "pickle"),
    "empty stack": (PROGRAM + b"0.", "opcode POP"),
    "text longer than the file": (PROGRAM + b"X\xff\xff\xff\x7fabc.", "expected"),
    "list": (PROGRAM + b"].", "holds a list"),
    "item of a list": (PROGRAM + b"]NNs.", "sets items"),
    "unhashable key": (PROGRAM + b"}]Ns.", "sets items"),
    "odd number of items": (PROGRAM + b"}(NNNu.", "sets items"),
    "item of nothing": (PROGRAM + b"NNa.", "no list"),
    "mark without a mark": (PROGRAM + b"t.", ""),
    "unknown place in the memo": (PROGRAM + b"h\x07.", "7"),
}
STORAGE = b"(X\x07\x00\x00\x00storagectorch\n%sStorage\nX\x01\x00\x00\x00%sX\x03\x00\x00\x00cpuK\x06tQ"


def tensor(shape: bytes, stride: bytes, offset: bytes = b"K\x00", kind: bytes = b"Float", key: bytes = b"0") -> bytes:
    """Return a pickle of one tensor, whose storage 0 has six floats."""
    storage = STORAGE % (kind, key)
    name = b"ctorch._utils\n_rebuild_tensor_v2\n"
    return PROGRAM + b"}X\x03\x00\x00\x00net" + name + b"(" + storage + offset + shape + stride + b"\x89)tRs."


SIX, ONE, HUGE, MINUS = b"K\x06\x85", b"K\x01\x85", b"\x8a\x07" + b"\xff" * 6 + b"\x0f\x85", b"J\xff\xff\xff\xff\x85"
BEYOND: dict[str, tuple[bytes, str]] = {
    "one element more": (tensor(b"K\x07\x85", ONE), "reaches beyond"),
    "offset": (tensor(SIX, ONE, b"K\x01"), "reaches beyond"),
    "stride": (tensor(SIX, b"K\x02\x85"), "reaches beyond"),
    "negative stride": (tensor(SIX, MINUS), "whole numbers"),
    "negative offset": (tensor(SIX, ONE, b"J\xff\xff\xff\xff"), "whole numbers"),
    "negative length": (tensor(MINUS, ONE), "whole numbers"),
    "huge": (tensor(HUGE, ONE), "reaches beyond"),
    "huge by repeating one element": (tensor(HUGE, b"K\x00\x85"), "reaches beyond"),
    "wider elements": (tensor(SIX, ONE, kind=b"Double"), "reaches beyond"),
    "another storage": (tensor(SIX, ONE, key=b"7"), "data/7"),
    "storage out of the folder": (tensor(SIX, ONE, key=b"/"), "no number"),
    "unknown storage": (tensor(SIX, ONE, kind=b"ComplexFloat"), "torch.ComplexFloatStorage"),
    "shape of another length than strides": (tensor(SIX, b"K\x01K\x01\x86"), "zip"),
    "shape that is a number": (tensor(b"K\x06", ONE), "int"),
    "fractional": (tensor(b"G" + b"\0" * 8 + b"\x85", ONE), "whole numbers"),
}


def refused(path: Path, reason: str) -> None:
    with pytest.raises(PolError) as error:
        saved.tensors(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and reason in message and message.isprintable() and len(message) < 500


@pytest.mark.parametrize("fault", HOSTILE)
def test_hostile_pickles_are_refused_and_nothing_is_called(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program, reason = HOSTILE[fault]
    refused(with_program(written(tmp_path, state()), program), reason)
    assert [path.name for path in tmp_path.iterdir()] == ["model_step_0"]


@pytest.mark.parametrize("fault", BEYOND)
def test_tensors_beyond_their_storage_are_refused(fault: str, tmp_path: Path) -> None:
    program, reason = BEYOND[fault]
    refused(with_program(written(tmp_path, state()), program), reason)


def test_the_pickle_that_the_hostile_ones_are_made_of_is_read(tmp_path: Path) -> None:
    path = with_program(written(tmp_path, content := state()), tensor(SIX, ONE))
    assert saved.tensors(path)["net"].equal(content["net"]["weight"].flatten())


def test_many_views_of_one_storage_are_refused(tmp_path: Path) -> None:
    big = torch.zeros(1 << 16)
    refused(written(tmp_path, {"net": {str(number): big[:] for number in range(8)}}), "more bytes")


def test_storages_count_toward_the_limit() -> None:
    program = PROGRAM + b"".join(STORAGE % (b"Float", b"%d" % number) for number in range(3)) + b"."
    Machine(lambda key: bytes(100), 300).run(program)
    with pytest.raises(ValueError, match="more bytes"):
        Machine(lambda key: bytes(100), 299).run(program)


def test_a_dict_that_holds_itself_is_harmless(tmp_path: Path) -> None:
    found = saved.tensors(with_program(written(tmp_path, state()), PROGRAM + b"}q\x00X\x03\x00\x00\x00neth\x00s."))
    assert found["net"] is found


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "zip"),
        (lambda path: path.write_bytes(b""), "zip"),
        (lambda path: path.write_bytes(pickle.dumps({"net": {}})), "zip"),
        (lambda path: torch.save(state(), path, _use_new_zipfile_serialization=False), "zip"),
        (lambda path: rewritten(path, lambda name, data: data, zipfile.ZIP_DEFLATED), "compressed"),
        (lambda path: rewritten(path, lambda name, data: b"big" if name.endswith("byteorder") else data), "little"),
        (lambda path: with_program(path, b"\x80\x02" + b"N0" * (3 << 20) + b"."), "4194304"),
        (lambda path: path.write_bytes(zipped({"a/data.pkl": b".", "b/data.pkl": b"."})), "2 pickles"),
        (lambda path: path.write_bytes(zipped({"a/code.py": b"."})), "0 pickles"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: (path.unlink(), path.mkdir()), "no such file"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "no such file"),
    ],
)
def test_files_that_torch_does_not_write_are_refused(fault: Callable[[Path], Any], reason: str, tmp_path: Path) -> None:
    path = written(tmp_path, state())
    fault(path)
    refused(path, reason)


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "model_step_0").open("wb") as file:
        file.truncate(saved.MAX_FILE + 1)
    refused(tmp_path / "model_step_0", "at most")


def test_changed_bytes_are_read_or_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"net": nn.Linear(2, 2).state_dict(), "optimizer": optimizer_state(torch.optim.SGD)})
    whole, draw = path.read_bytes(), random.Random(0)
    with zipfile.ZipFile(path) as members:
        program = next(members.read(name) for name in members.namelist() if name.endswith("/data.pkl"))
    outcomes = Counter[str]()
    for _ in range(400):
        target = program if draw.random() < 0.8 else whole
        changed = bytearray(target)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        path.write_bytes(whole)
        if target is program:
            with_program(path, bytes(changed))
        else:
            path.write_bytes(changed)
        try:
            outcomes[type(saved.tensors(path)).__name__] += 1
        except PolError as error:
            assert str(error).isprintable()
            outcomes["refused"] += 1
    assert outcomes.keys() == {"dict", "refused"}


@pytest.mark.parametrize(
    "values", [np.arange(6).reshape(2, 3), np.zeros((2, 0)), np.asfortranarray(np.eye(3, dtype="f4"))]
)
def test_arrays_are_read_as_numpy_reads_them(values: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "data_0.npy", values)
    found = saved.numbers(tmp_path / "data_0.npy")
    assert found.dtype == values.dtype and np.array_equal(found, values)


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        header("(1099511627776,)"),
        header("(2, 3)") + bytes(23),
        header("(-1,)"),
        header("(" * 200 + ")" * 200),
        header("(__import__('os').system('touch owned'),)"),
        header("(1,)", "'|O'") + pickle.dumps(Evil()),
        header("(1,)", "'<U4'") + bytes(16),
        header("(1,)", "'<u2'") + bytes(2),
        header("(1,)", "'<f16'") + bytes(16),
        header("(1,)", "[('a', '<f4')]") + bytes(4),
        pickle.dumps(Evil()),
        zipped({"a.npy": b""}),
        b"",
    ],
)
def test_hostile_arrays_are_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data_0.npy").write_bytes(content)
    with pytest.raises(PolError, match=r"data_0\.npy: "):
        saved.numbers(tmp_path / "data_0.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["data_0.npy"]
