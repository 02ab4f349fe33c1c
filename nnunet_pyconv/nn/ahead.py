"""Choosing the backends of a network's layers on a GPU before `torch.compile` traces it.

Nothing can be measured while a network is traced: a compiled layer takes what the table of choices says. So the choices
are made before, for the inputs that the network will get.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn

from nnunet_pyconv.nn.backends import Workload, use_backend
from nnunet_pyconv.nn.backends.choice import is_auto, is_by_time
from nnunet_pyconv.nn.backends.table import Choice, Question, table_of
from nnunet_pyconv.nn.backends.triton.autotune import fastest
from nnunet_pyconv.nn.pyconv import PyConv


@dataclass(frozen=True)
class Use:
    """An input that a network will get.

    Attributes:
        x_size: `(N, C, [Z,] Y, X)`.
        trained: Whether there will be a backward pass.
    """

    x_size: tuple[int, ...]
    trained: bool


def choose_ahead(network: nn.Module, uses: Sequence[Use], device: torch.device) -> dict[Question, Choice]:
    """Choose the backend of each distinct layer shape, as "auto" does, and keep the choices in the table.

    The network computes once for each size of input, in evaluation mode, without gradients and under the autocast of
    the caller: neither its state nor the random numbers change. Where `torch.distributed` is initialised, all ranks
    have to call this; rank 0 measures, and all take its choices.

    Args:
        network: A network that isn't compiled yet, or the original of a compiled one.
        uses: The inputs.
        device: Of the network.

    Returns:
        The choices; none where nothing is chosen by time, on other devices than a GPU, in deterministic mode or with a
        forced backend.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return _choose(network, uses, device)
    message: list[dict[Question, Choice]] = [{}]
    try:
        if distributed.get_rank() == 0:
            message = [_choose(network, uses, device)]
    finally:  # after an error as well: the others wait
        distributed.broadcast_object_list(message)
    if distributed.get_rank() != 0 and message[0]:
        table_of(device).add(message[0], keep=False)
    return message[0]


def describe_choices(choices: dict[Question, Choice], device: torch.device) -> str:
    """Say in one line what was chosen, and where it is kept."""
    counts = Counter(choices.values())
    table = table_of(device)
    where = f"kept in {table.file}" if table.file is not None else "kept for this process"
    numbers = ", ".join(f"{name} for {count}" for name, count in sorted(counts.items(), reverse=True))
    return f"PyConv backends on {table.machine.gpu}, by time for each layer shape: {numbers} ({where})"


def _choose(network: nn.Module, uses: Sequence[Use], device: torch.device) -> dict[Question, Choice]:
    if not is_auto():
        return {}
    works = {size: _workloads(network, size, device) for size in dict.fromkeys(use.x_size for use in uses)}
    choices: dict[Question, Choice] = {}
    for use in uses:
        for work in works[use.x_size]:
            choices[Question.of(work, use.trained)] = fastest(work, use.trained)
    if choices and device.type == "cuda":
        torch.cuda.empty_cache()  # what trying took must not add to a training's peak
    return choices


def _workloads(network: nn.Module, x_size: tuple[int, ...], device: torch.device) -> list[Workload]:
    """Return the distinct workloads of the PyConv layers whose backend is chosen by time."""
    found: dict[Workload, None] = {}

    def note(layer: PyConv, inputs: tuple[Any, ...]) -> None:
        work = layer.workload(inputs[0])
        if work is not None and is_by_time(work):
            found[work] = None

    layers = [module for module in network.modules() if isinstance(module, PyConv)]
    if not layers:
        return []
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad(), use_backend("reference"):
            network(torch.zeros(x_size, device=device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return list(found)
