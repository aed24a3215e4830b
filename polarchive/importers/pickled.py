"""Read what torch.save wrote without unpickling it: a small machine knows tensors and plain containers, nothing else.

Python's unpickler calls what a file names. This one calls nothing: a name is a mark on its stack, and only the names
that state dicts consist of have a meaning. The opcodes are those that torch.save writes; all others are refused.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from polarchive.format.limits import MAX_NDIM

_TENSOR: Final = "torch._utils _rebuild_tensor_v2"
_DICT: Final = "collections OrderedDict"
_COUNTER: Final = "collections Counter"
_STORAGES: Final = {
    "torch DoubleStorage": torch.float64,
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ByteStorage": torch.uint8,
}
_KNOWN: Final = _STORAGES.keys() | {_TENSOR, _DICT, _COUNTER}
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: Final[dict[str, Callable[[], Any]]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_LITERALS: Final = frozenset(("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"))
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED: Final = frozenset(("PROTO", "STOP"))


@dataclass(frozen=True, slots=True)
class _Named:
    """Stands for what a pickle names; it is never looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    """Hold all elements that views are made of, shape (count,)."""

    elements: Tensor


class Machine:
    """Run one pickle whose tensors take their bytes from `storage(key)`, with at most `limit` bytes of both in all.

    ValueError, LookupError, TypeError or RuntimeError says what in the pickle is wrong, and names a class that is
    neither a tensor nor a plain container.
    """

    def __init__(self, storage: Callable[[str], bytes], limit: int) -> None:
        self._bytes, self._left = storage, limit
        self._storages: dict[str, Tensor] = {}
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        """Return what the pickle describes."""
        for opcode, argument, _ in pickletools.genops(program):
            self._take(opcode.name, argument)
        return self._stack.pop()

    def _take(self, opcode: str, argument: Any) -> None:
        if opcode in _LITERALS:
            self._stack.append(argument)
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            self._stack.append(_EMPTY[opcode]())
        elif opcode in _TUPLES:
            self._stack[-_TUPLES[opcode] :] = [tuple(self._stack[-_TUPLES[opcode] :])]
        elif opcode in _DOES:
            _DOES[opcode](self, argument)
        elif opcode not in _IGNORED:
            raise ValueError(f"its pickle uses the opcode {opcode}, which torch.save does not write")

    def _mark(self, _: object) -> None:
        self._marks.append(len(self._stack))

    def _put(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def _get(self, place: int) -> None:
        self._stack.append(self._memo[place])

    def _tuple(self, _: object) -> None:
        self._stack.append(tuple(self._marked()))

    def _append(self, _: object) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, _: object) -> None:
        self._extend(self._marked())

    def _set_item(self, _: object) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def _set_items(self, _: object) -> None:
        self._update(self._marked())

    def _name(self, name: str) -> None:
        if name not in _KNOWN:
            raise ValueError(f"it holds {name.replace(' ', '.')}, which is neither a tensor nor a plain container")
        self._stack.append(_Named(name))

    def _build(self, _: object) -> None:
        self._stack.pop()  # the versions of modules, which state dicts carry; nothing here reads them
        if not isinstance(self._stack[-1], dict):
            raise ValueError("its pickle changes something that is no dict")  # torch would change a tensor

    def _reduce(self, _: object) -> None:
        arguments, what = self._stack.pop(), self._stack.pop()
        if what == _Named(_TENSOR):
            self._stack.append(self._tensor(*arguments[:4]))
        elif what == _Named(_COUNTER) and isinstance(arguments[0], dict):
            self._stack.append(arguments[0])
        elif what == _Named(_DICT) and arguments == ():
            self._stack.append({})
        else:
            raise ValueError("its pickle calls something that is no tensor or container")

    def _storage(self, _: object) -> None:
        _, kind, key, *_ = self._stack.pop()
        if not isinstance(key, str) or not key.isascii() or not key.isdigit():
            raise ValueError("it names a storage by something that is no number")
        if key not in self._storages:
            self._storages[key] = data = _raw(self._bytes(key))
            self._spend(len(data))
        self._stack.append(_Storage(self._storages[key].view(_STORAGES[kind.name])))

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
        if not isinstance(storage, _Storage) or not _are_counts((offset, *size, *stride)) or len(size) > MAX_NDIM:
            raise ValueError("a tensor is described by something else than a storage and whole numbers")
        elements, wanted = storage.elements, 1
        for length in size:
            wanted *= length
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if wanted > len(elements) or (wanted and last >= len(elements)):
            raise ValueError(f"a tensor of shape {size} reaches beyond its storage of {len(elements)} elements")
        self._spend(wanted * elements.itemsize)
        return elements.as_strided(size, stride, offset).clone(memory_format=torch.contiguous_format)

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError("its tensors have more bytes than it")

    def _marked(self) -> list[Any]:
        start = self._marks.pop()
        found = self._stack[start:]
        del self._stack[start:]
        return found

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise ValueError("its pickle appends to something that is no list")
        self._stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], dict) or not all(isinstance(key, str | int) for key in items[::2]):
            raise ValueError("its pickle sets items of something that is no dict of names or numbers")
        self._stack[-1].update(zip(items[::2], items[1::2], strict=True))


_DOES: Final[dict[str, Callable[[Machine, Any], None]]] = {
    "MARK": Machine._mark,
    "BINPUT": Machine._put,
    "LONG_BINPUT": Machine._put,
    "BINGET": Machine._get,
    "LONG_BINGET": Machine._get,
    "TUPLE": Machine._tuple,
    "APPEND": Machine._append,
    "APPENDS": Machine._appends,
    "SETITEM": Machine._set_item,
    "SETITEMS": Machine._set_items,
    "GLOBAL": Machine._name,
    "BUILD": Machine._build,
    "REDUCE": Machine._reduce,
    "BINPERSID": Machine._storage,
}


def _raw(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


def _are_counts(values: tuple[Any, ...]) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 62 for value in values)
