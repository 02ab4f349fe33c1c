"""The estimate of training's memory against what torch saves and allocates in a real training step."""

from __future__ import annotations

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn
from torch.profiler import ProfilerActivity, profile

from nnunet_pyconv.benchmarks.training_memory import CASES, FLAT_KERNELS, FLAT_STRIDES, PlannedNetwork, measure_on_gpu
from nnunet_pyconv.nn import BLOCKS, PyConv2d
from nnunet_pyconv.nn.backends import use_backend
from nnunet_pyconv.planning.memory import TrainingMemory, training_loss, training_memory
from nnunet_pyconv.planning.planners import memory_of_plan

THREE_STAGES = ((1, 1), (2, 2), (2, 2))
SMALL = [
    case
    for residual in (False, True)
    for case in (
        PlannedNetwork((64, 64), 4, residual, strides=THREE_STAGES),
        PlannedNetwork((80, 112), 2, residual),
        PlannedNetwork((24, 16, 16), 2, residual),
        PlannedNetwork((8, 32, 32), 2, residual, FLAT_KERNELS[:3], FLAT_STRIDES[:3]),
    )
]
OF_BLOCKS = [
    PlannedNetwork(patch_size, 2, strides=((1,) * len(patch_size), (2,) * len(patch_size)), block=block)
    for block in BLOCKS
    for patch_size in ((64, 64), (16, 16, 16))
    if block != "plain"
]


def build(case: PlannedNetwork) -> nn.Module:
    architecture = case.architecture()
    keys = ("network_class_name", "arch_kwargs", "_kw_requires_import")
    network: nn.Module = get_network_from_plans(*(architecture[key] for key in keys), 1, 3, deep_supervision=True)
    return network


def saved_bytes(network: nn.Module, image: torch.Tensor) -> int:
    """What autograd keeps of a forward pass: the storages of saved tensors, parameters and image not among them."""
    outside = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), image)}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in outside:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = network(image)
    assert outputs is not None
    return sum(storage.nbytes() for storage in kept.values())


def allocated_bytes(network: nn.Module, image: torch.Tensor) -> int:
    """The most that torch holds after any operator of a training step, by its profiler.

    Within an operator the library's workspaces come to it, which depend on the processor.
    """
    optimizer = torch.optim.SGD(network.parameters(), 1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)
    target = torch.zeros(image.shape[0], 1, *image.shape[2:])
    now = most = 0
    for _ in range(2):  # the momentum is made in the first step
        optimizer.zero_grad()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            training_loss(network(image), target).backward()
            optimizer.step()
    changes = [
        (event.start_ns(), event.nbytes())
        if event.name() == "[memory]"
        else (event.start_ns() + event.duration_ns(), 0)
        for event in profiled.profiler.kineto_results.events()
    ]
    for _, change in sorted(changes):
        now += change
        if not change:
            most = max(most, now)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return most + 8 * parameters + 4 * image.numel() + 4 * target.numel()


def estimate(case: PlannedNetwork) -> TrainingMemory:
    with torch.device("meta"):
        network = build(case)
    return training_memory(network, (case.batch_size, 1, *case.patch_size), torch.float32)


@pytest.mark.parametrize(
    "case",
    [
        case if case in (SMALL[0], SMALL[3], OF_BLOCKS[0]) else pytest.param(case, marks=pytest.mark.slow)
        for case in (*SMALL, *OF_BLOCKS)
    ],
    ids=str,
)
def test_estimate_is_what_a_training_step_saves_and_allocates(case: PlannedNetwork) -> None:
    network, image = build(case), torch.randn(case.batch_size, 1, *case.patch_size)
    estimated = estimate(case)
    assert estimated.kept_bytes == pytest.approx(saved_bytes(network, image), rel=0.05)
    assert estimated.peak_bytes == pytest.approx(allocated_bytes(network, image), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("case", SMALL[2:4], ids=str)
def test_execution_level_by_level_saves_the_same(case: PlannedNetwork) -> None:
    with use_backend("reference"):
        saved = saved_bytes(build(case), torch.randn(case.batch_size, 1, *case.patch_size))
    assert estimate(case).kept_bytes == pytest.approx(saved, rel=0.05)


def test_layer_keeps_its_input_once() -> None:
    """1 x 4 x 10 x 10 float32 into a layer of four levels: that, and the 8 channels that come out."""
    with torch.device("meta"):
        network = nn.Sequential(nn.ReLU(), PyConv2d(4, 8))
    assert training_memory(network, (1, 4, 10, 10), torch.float32).kept_bytes == 4 * (4 + 8) * 100


def test_mixed_precision_halves_activations_and_copies_weights() -> None:
    """A 1 x 1 convolution of 2 x 4 x 10 x 10 to 3 channels: half an image, 3 channels and 4 * 3 weights."""
    with torch.device("meta"):
        network = nn.Conv2d(4, 3, 1)
    assert training_memory(network, (2, 4, 10, 10)).kept_bytes == 2 * (2 * 4 * 100 + 2 * 3 * 100 + 12)


def test_update_of_a_large_network_on_a_small_patch() -> None:
    """Parameters, gradients, momentum and one copy, 4 bytes each, outweigh the activations."""
    with torch.device("meta"):
        network = nn.Conv2d(1000, 1000, 1, bias=False)
    assert training_memory(network, (1, 1000, 1, 1)).peak_bytes == 16 * 1000 * 1000


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
def test_memory_grows_with_patch_and_batch(residual: bool) -> None:
    def memory(patch_size: tuple[int, ...], batch_size: int) -> int:
        case = PlannedNetwork(patch_size, batch_size, residual, strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)))
        return memory_of_plan(patch_size, batch_size, 1, 3, case.architecture()).kept_bytes

    small, batch, patch = memory((64, 64, 64), 2), memory((64, 64, 64), 4), memory((64, 64, 128), 2)
    assert 1.9 * small < batch < 2 * small  # the half-precision copies of the weights don't grow
    assert patch == pytest.approx(batch, rel=0.001)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_estimate_on_a_gpu(case: PlannedNetwork) -> None:
    if torch.cuda.mem_get_info()[0] < 16 * 2**30:
        pytest.skip("needs 16 GB of free GPU memory")
    estimated = memory_of_plan(case.patch_size, case.batch_size, 1, 3, case.architecture()).peak_bytes
    assert estimated == pytest.approx(measure_on_gpu(case), rel=0.1)
