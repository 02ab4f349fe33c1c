"""The table of choices on a GPU: for each layer, shape and dtype which backend was found to be the faster.

It is in memory, and in a file of the user's cache, one for each GPU and versions. A file that is damaged, belongs to
another user or was made elsewhere counts as none: what it would have said is measured again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from nnunet_pyconv.nn.backends.spec import Workload
from nnunet_pyconv.nn.backends.user_cache import is_private, open_cache
from nnunet_pyconv.nn.level import Level

Choice = Literal["triton", "reference"]
FOLDER = "choices"
"""Of the files, in the user's cache."""


@dataclass(frozen=True)
class Question:
    """What a choice depends on, besides the machine.

    Attributes:
        x_size: `(N, C, [Z,] Y, X)` of the input.
        dtype: In which the layer computes, for example "float16".
        levels: The levels.
        stride: One an axis.
        trained: Whether there will be a backward pass.
        allow_tf32: Whether float32 may be multiplied as TF32.
    """

    x_size: tuple[int, ...]
    dtype: str
    levels: tuple[Level, ...]
    stride: tuple[int, ...]
    trained: bool
    allow_tf32: bool

    @classmethod
    def of(cls, work: Workload, trained: bool) -> Question:
        """Ask for a layer and its input."""
        dtype = str(work.dtype).removeprefix("torch.")
        return cls(work.x_size, dtype, work.levels, work.stride, trained, torch.backends.cudnn.allow_tf32)


@dataclass(frozen=True)
class Machine:
    """What else a choice depends on; a file of choices begins with it."""

    gpu: str
    torch_version: str
    triton_version: str
    pyconv_version: str

    @classmethod
    def of(cls, device: torch.device) -> Machine:
        """Describe the machine of a device."""
        gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return cls(gpu, torch.__version__, _version("triton"), _version("nnunet-pyconv"))

    @property
    def file_name(self) -> str:
        """A name that no other machine has."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16] + ".json"


class Table:
    """The choices of a machine.

    Attributes:
        machine: The machine.
        file: Where the choices are kept, None where there is no place for them.
        choices: All that is known.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.file: Path | None = None
        self.choices: dict[Question, Choice] = {}
        with contextlib.suppress(OSError):  # then each process finds out anew
            self.file = open_cache(FOLDER) / machine.file_name
            self.choices |= read(self.file, machine)

    def add(self, choices: Mapping[Question, Choice], keep: bool = True) -> None:
        """Remember choices.

        Args:
            choices: What was found.
            keep: Whether later processes should have them too.
        """
        self.choices |= choices
        if keep and self.file is not None:
            with contextlib.suppress(OSError):  # a full disk
                write(self.file, self.machine, read(self.file, self.machine) | dict(choices))


@functools.cache
def table_of(device: torch.device) -> Table:
    """Return the table for a device, which is read at the first call."""
    return Table(Machine.of(device))


def read(file: Path, machine: Machine) -> dict[Question, Choice]:
    """Read the choices in a file; none where it isn't a whole file of this user for this machine."""
    try:
        if not is_private(file, stat.S_ISREG):
            return {}
        content = json.loads(file.read_text("utf-8"))
        if content["machine"] != asdict(machine):
            return {}
        return {_question(entry): _choice(entry["choice"]) for entry in content["choices"]}
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
    ):  # all that JSON of another form gives
        return {}


def write(file: Path, machine: Machine, choices: Mapping[Question, Choice]) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: The disk is full, for example.
    """
    entries = [{**asdict(question), "choice": choice} for question, choice in choices.items()]
    descriptor, unfinished = tempfile.mkstemp(dir=file.parent, prefix="writing-")  # only this user may read it
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump({"machine": asdict(machine), "choices": entries}, stream)
        Path(unfinished).replace(file)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def _question(entry: Mapping[str, Any]) -> Question:
    fields = {name: entry[name] for name in Question.__dataclass_fields__}
    levels = tuple(Level(**{name: _hashable(value) for name, value in level.items()}) for level in fields["levels"])
    question = Question(**{name: _hashable(value) for name, value in fields.items() if name != "levels"}, levels=levels)
    hash(question)  # raises TypeError
    return question


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _choice(value: Any) -> Choice:
    if value not in get_args(Choice):
        raise ValueError(f"{value!r} is not a choice")
    choice: Choice = value
    return choice


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # a Triton that the system has in another way
        return "unknown"
