"""A SHA-256 over everything that decides what a network answers: weights, settings, lists, functions, code of its own.

Two networks with the same fingerprint answer alike. What has no stable description (a lock, a session, an open file) is
named in `Fingerprint.unknown`: of such a network nothing may be stored under its fingerprint.
"""

from __future__ import annotations

import contextlib
import copyreg
import dis
import functools
import hashlib
import io
import itertools
import sys
import types
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

KNOWN = {"torch", "torchvision", "timm", "transformers", "spatial_viz", "numpy", *sys.stdlib_module_names}
"""Packages whose classes and functions are told apart by name, as those of anything installed are; of what is one's own
the code counts, too."""
_LONGEST = 80  # characters of a path that is named
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
BOOKKEEPING = frozenset(vars(nn.Module()))
"""What torch itself keeps in every module; weights, children and hooks among it are read on their own."""
_UNTOLD = ("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "__firstlineno__",
           "__slots__", "_abc_impl")  # fmt: skip
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), range, slice, torch.dtype, torch.device,
          torch.Size, torch.memory_format, torch.layout)  # fmt: skip


class Fingerprint:
    """`add` values, then read `hexdigest` and `unknown` (where something lies that cannot be described)."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._seen: dict[int, tuple[int, Any]] = {}  # keeps the objects, so that no id comes twice
        self.unknown: list[str] = []

    def hexdigest(self) -> str:
        return self._digest.hexdigest()

    def add(self, value: Any, path: str = "network") -> None:
        """Any Python value, with all that it holds."""
        if isinstance(value, _PLAIN):
            self._put(type(value).__name__, repr(value).encode())
        elif id(value) in self._seen:
            self._put("again", str(self._seen[id(value)][0]).encode())
        else:
            self._seen[id(value)] = (len(self._seen), value)
            try:
                self._describe(value, path)
            except RecursionError:  # a long chain of objects
                self._give_up(path)

    def _give_up(self, path: str) -> None:
        if not self.unknown or self.unknown[-1] != path[:_LONGEST]:
            self.unknown.append(path[:_LONGEST])

    def _put(self, kind: str, content: bytes) -> None:
        self._digest.update(f"{kind} {len(content)}:".encode())
        self._digest.update(content)

    def _describe(self, value: Any, path: str) -> None:
        if isinstance(value, Tensor):
            self._tensor(value, path)
        elif isinstance(value, np.ndarray) and value.dtype != object:
            self._put("array", f"{value.dtype} {value.shape} ".encode() + value.tobytes())
        elif isinstance(value, nn.Module):
            self._module(value, path)
        elif isinstance(value, type):
            self._class(value, path)
        elif isinstance(value, types.FunctionType):
            self._function(value, path)
        elif isinstance(value, types.CodeType):
            self._put("code", value.co_code)
            self._all((value.co_names, value.co_consts), path)
        elif isinstance(value, types.MethodType):
            self._all((value.__func__, value.__self__), path)
        elif isinstance(value, staticmethod | classmethod):
            self.add(value.__func__, path)
        elif isinstance(value, functools.cached_property):
            self.add(value.func, path)
        elif isinstance(value, property):
            self._all((value.fget, value.fset), path)
        elif isinstance(value, types.ModuleType):
            self._put("name", value.__name__.encode())
        elif isinstance(value, types.BuiltinFunctionType):
            self._put("name", f"{value.__module__} {value.__qualname__}".encode())
            if not isinstance(value.__self__, types.ModuleType):  # a method of some object
                self.add(value.__self__, path)
        elif hasattr(value, "cache_info") and hasattr(value, "__wrapped__"):
            self.add(value.__wrapped__, path)
        elif isinstance(value, set | frozenset):
            self._all(sorted(value, key=repr), path)
        elif isinstance(value, Mapping):
            self._items(value, path)
        elif isinstance(value, list | tuple):
            self._put(type(value).__name__, str(len(value)).encode())
            self._all(value, path)
        else:
            self._object(value, path)

    def _all(self, values: Iterable[Any], path: str) -> None:
        for number, value in enumerate(values):
            self.add(value, f"{path}[{number}]")

    def _items(self, values: Mapping[Any, Any], path: str) -> None:
        self._put(type(values).__name__, str(len(values)).encode())
        for key in sorted(values) if all(isinstance(key, str) for key in values) else values:
            self.add(key, path)
            self.add(values[key], f"{path}.{key}")

    def _tensor(self, value: Tensor, path: str) -> None:
        try:
            self._put("tensor", f"{tuple(value.shape)} {value.dtype}".encode())
            if value.layout == torch.sparse_coo:
                value = value.coalesce()
                self._all((value.indices(), value.values()), path)
                return
            if value.is_quantized:
                self.add(str(value.qscheme()), path)
                each = value.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric)
                self._all((value.q_scale(), value.q_zero_point()) if each else
                          (value.q_per_channel_scales(), value.q_per_channel_zero_points(), value.q_per_channel_axis()),
                          path)  # fmt: skip
                value = value.int_repr()
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        except (RuntimeError, ValueError, NotImplementedError):  # not materialised, of a rare layout, …
            self._give_up(path)
        else:
            self._digest.update(flat.numpy().data)

    def _module(self, module: nn.Module, path: str) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            self._script(module, path)
            return
        self.add(type(module), path)
        state = dict(vars(module))
        held = {name: value for name, value in state.items() if name not in BOOKKEEPING}
        if isinstance(module, torch.fx.GraphModule):  # its graph is its code
            held = {name: value for name, value in held.items() if isinstance(value, Tensor)} | {"code": module.code}
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            held["extra state"] = module.get_extra_state()
        for name in sorted(held):
            self.add(name, path)
            self.add(held[name], f"{path}.{name}")
        for kind in ("_parameters", "_buffers", "_modules"):
            for name, value in state[kind].items():
                self.add(name, path)
                self.add(value, f"{path}.{name}")
        for kind in _HOOKS:
            self._all(state[kind].values(), f"{path}, hook")

    def _script(self, module: torch.jit.ScriptModule, path: str) -> None:
        """A TorchScript module is what its file would hold."""
        archive = io.BytesIO()
        torch.jit.save(module, archive)
        with zipfile.ZipFile(archive) as members:
            for name in sorted(members.namelist()):
                if not name.endswith(".debug_pkl"):
                    self._put(name.partition("/")[2], members.read(name))

    def _class(self, kind: type, path: str) -> None:
        package = kind.__module__.partition(".")[0]
        version = "" if package in KNOWN else getattr(sys.modules.get(package), "__version__", "")
        self._put("class", f"{kind.__qualname__} {version}".encode())
        for base in kind.__mro__:
            if not named_alone(base):
                for name, member in sorted(vars(base).items()):
                    if name not in _UNTOLD and not isinstance(member, types.MemberDescriptorType):
                        self.add(name, path)
                        self.add(member, f"{path}.{name}")

    def _function(self, function: types.FunctionType, path: str) -> None:
        self._put("function", function.__qualname__.encode())
        if named_alone(function):
            return
        self._all((function.__code__, function.__defaults__, function.__kwdefaults__), path)
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # an empty cell
                self.add(cell.cell_contents, path)
        for name, attribute in sorted(set(_globals_in(function.__code__))):  # what it uses of its module and of others
            if name in function.__globals__:
                value = function.__globals__[name]
                self.add(value, f"{path}, {name}")
                if isinstance(value, types.ModuleType) and not _installed(value.__name__):
                    self.add(getattr(value, attribute, None), f"{path}, {name}.{attribute}")

    def _object(self, value: Any, path: str) -> None:
        """As it would be pickled; what cannot be is unknown."""
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            reduced: Any = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception:  # objects refuse in many ways: TypeError, PicklingError, a RuntimeError of torch's
            self._put("unknown", type(value).__qualname__.encode())
            self._give_up(path)
            return
        self._put("object", type(value).__qualname__.encode())
        for part in (reduced,) if isinstance(reduced, str) else reduced:
            self.add(list(part) if hasattr(part, "__next__") else part, path)


def named_alone(thing: Any) -> bool:
    """Whether a class or function is told apart by its name alone."""
    return _installed(str(thing.__module__))


@functools.cache
def _installed(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return module.partition(".")[0] in KNOWN or "site-packages" in file or "dist-packages" in file


def _globals_in(code: types.CodeType) -> Iterator[tuple[str, str]]:
    """The global names that code reads, each with the attribute that it takes of it, or ""."""
    instructions = list(dis.get_instructions(code))
    for instruction, after in itertools.zip_longest(instructions, instructions[1:]):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            reads = after is not None and after.opname in ("LOAD_ATTR", "LOAD_METHOD")
            yield instruction.argval, str(after.argval) if reads else ""
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_in(constant)
