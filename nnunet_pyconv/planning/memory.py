"""How much memory the training of a network takes, found by one training step without any."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nnunet_pyconv.nn.backends import use_backend


@dataclass(frozen=True)
class TrainingMemory:
    """Memory of a training step.

    Attributes:
        kept_bytes: What autograd keeps from the forward pass for the backward pass, with the network's outputs;
            parameters are not among it, the copies of them that mixed precision makes are.
        peak_bytes: The most that is held at any time: parameters, gradients, momentum, activations, temporaries.
    """

    kept_bytes: int
    peak_bytes: int


def training_memory(
    network: nn.Module, input_size: Sequence[int], precision: torch.dtype = torch.float16
) -> TrainingMemory:
    """Estimate the memory that nnU-Net's trainer takes to train a network.

    One training step (forward pass, nnU-Net's loss with deep supervision, backward pass) runs on torch's meta device,
    which computes shapes only, while the bytes of all living tensors are counted. What is kept and when it is freed is
    thus decided by autograd itself. The PyConv layers run level by level, as they do on a GPU, and keep their input,
    once, and their weights; so does the compiled kernel. (The fold, a CPU's way without a compiler, keeps more.)

    To this come parameters and momentum in float32. Where it is more, what SGD holds in its update counts: parameters,
    gradients, momentum, and on a GPU, where all parameters are updated at once, a second set of gradients.

    Not counted are the libraries' workspaces, the CUDA context and fragmentation.

    Args:
        network: On the meta device, with deep supervision on or off.
        input_size: `(N, C, [Z,] Y, X)`.
        precision: Type that the convolutions compute in: float16 for nnU-Net's mixed precision on a GPU, float32 for
            its training on a CPU.

    Returns:
        The estimate.
    """
    living = _LivingBytes()
    parameters = dict(network.named_parameters())
    n_parameters = sum(parameter.numel() for parameter in parameters.values())
    with torch.device("meta"), use_backend("reference"), living:
        image, target = torch.empty(input_size), torch.empty(input_size[0], 1, *input_size[2:])
        cast = {name: parameter.to(precision) for name, parameter in parameters.items()}  # autocast keeps the copies
        outputs = functional_call(network, cast, (image.to(precision),))
        del cast
        kept = living.now - living.bytes_of(image, target)
        loss = training_loss(outputs, target)
        del outputs
        loss.backward()  # type: ignore[no-untyped-call]
    for parameter in parameters.values():
        parameter.grad = None
    update = 3 * 4 if precision == torch.float32 else 4 * 4
    return TrainingMemory(kept, max(living.peak + 2 * 4 * n_parameters, update * n_parameters))


class _LivingBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that operators return, until they are freed; views count once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def bytes_of(self, *tensors: torch.Tensor) -> int:
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors)

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._free, storage._cdata)

    def _free(self, storage: int) -> None:
        self.now -= self._sizes.pop(storage)


def training_loss(outputs: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    """Apply nnU-Net's loss, Dice and cross-entropy, as its trainer does; autocast computes it in float32.

    Args:
        outputs: `(N, classes, [Z,] Y, X)`, or one for each resolution, full resolution first.
        target: Labels `(N, 1, [Z,] Y, X)`; lower resolutions are taken to hold the background.

    Returns:
        The loss, a scalar.
    """
    dice = {"batch_dice": True, "do_bg": False, "ddp": False}
    loss = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)
    if isinstance(outputs, torch.Tensor):
        return loss(outputs.float(), target)
    weights = [1.0 / 2**scale for scale in range(len(outputs))]
    if len(outputs) > 1:
        weights[-1] = 0  # the trainer leaves out the lowest resolution
    targets = [target.new_zeros(target.shape[:2] + output.shape[2:]) for output in outputs]
    return DeepSupervisionWrapper(loss, weights)([output.float() for output in outputs], targets)
