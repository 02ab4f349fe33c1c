"""Distributed training as nnU-Net does it, with two processes and gloo on a CPU."""

from __future__ import annotations

import socket
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plans_of_nnunet import DATASET_JSON, make_plans
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_pyconv.nn import Block
from nnunet_pyconv.planning import Design, swap_plans
from nnunet_pyconv.trainers import nnUNetTrainerPyConv, nnUNetTrainerPyConvBottleneck
from nnunet_pyconv.trainers.variants import nnUNetTrainerPyConvBN

PROCESSES = 2


def build(network: str, trainer: type[nnUNetTrainerPyConv] = nnUNetTrainerPyConv) -> nn.Module:
    torch.manual_seed(0)
    manager = PlansManager(deepcopy(make_plans(network)))
    return trainer.build_network_architecture(manager, manager.get_configuration("2d"), 1, 3, True)


def loss_of(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Deep supervision; with DDP nnU-Net gives the lowest resolution the weight 1e-6, so all parameters are used."""
    outputs = network(images)
    weights = [1.0] * (len(outputs) - 1) + [1e-6]
    return sum((w * output.square().mean() for w, output in zip(weights, outputs, strict=True)), torch.zeros(()))


def images() -> torch.Tensor:
    return torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(1))


def work(rank: int, port: int, network: str, trainer: type[nnUNetTrainerPyConv], file: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=PROCESSES)
    model = DistributedDataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(build(network, trainer)))
    share = images()[rank::PROCESSES]
    for _ in range(2):  # the second forward pass raises where a parameter was not used in the first
        model.zero_grad()
        loss_of(model, share).backward()
    if rank == 0:
        torch.save({name: parameter.grad for name, parameter in model.module.named_parameters()}, file)
    dist.destroy_process_group()


@pytest.mark.slow  # each process imports torch
@pytest.mark.parametrize(
    ("network", "trainer"),
    [
        ("PlainConvUNet", nnUNetTrainerPyConv),
        pytest.param("ResidualEncoderUNet", nnUNetTrainerPyConv, marks=pytest.mark.long),
        pytest.param("PlainConvUNet", nnUNetTrainerPyConvBottleneck, marks=pytest.mark.long),
    ],
)
def test_two_processes_have_the_gradients_of_one(
    network: str, trainer: type[nnUNetTrainerPyConv], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (port, network, trainer, tmp_path / "gradients.pt"), nprocs=PROCESSES)
    distributed = torch.load(tmp_path / "gradients.pt")
    model = build(network, trainer)
    loss_of(model, images()).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(distributed[name], parameter.grad, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("block", ["plain", "bottleneck"])
def test_batch_normalisation_becomes_synchronous(network: str, block: Block) -> None:
    plans, _ = swap_plans(make_plans(network), DATASET_JSON, "nnUNetPyConvPlans", Design(block))
    manager = PlansManager(plans)
    model = nnUNetTrainerPyConvBN.build_network_architecture(manager, manager.get_configuration("2d"), 1, 3, True)
    before = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert before > 0
    assert not any(type(module) is nn.BatchNorm2d for module in converted.modules())
    for block in converted.modules():
        if isinstance(block, ConvDropoutNormReLU):  # registers its layers twice; both names stay one parameter
            assert isinstance(block.norm, nn.SyncBatchNorm)
            assert block.norm.weight is block.all_modules[1].weight
