from __future__ import annotations

import math

import pytest
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import nn
from torch.nn import functional

from nnunet_pyconv.distillation import DistillationLoss

LN3 = math.log(3)
DIVERGENCE = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
"""KL of (3/4, 1/4) from (1/2, 1/2)."""


class Constant(nn.Module):
    """Stands for the loss of the labels."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        assert output.shape[2:] == target.shape[2:]
        return torch.tensor(10.0)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_two_classes_by_hand(temperature: float) -> None:
    loss = DistillationLoss(Constant(), soft_weight=0.25, temperature=temperature, regions=False)
    teacher = torch.tensor([LN3 * temperature, 0.0]).view(1, 2, 1, 1).expand(1, 2, 2, 3)
    value = loss(torch.zeros(1, 2, 2, 3), [torch.zeros(1, 1, 2, 3), teacher])
    assert value.item() == pytest.approx(0.75 * 10 + 0.25 * temperature**2 * DIVERGENCE, rel=1e-5)


def test_regions_by_hand() -> None:
    """The first region's logit ln 3 is a probability of 3/4; the second is as the student's."""
    loss = DistillationLoss(Constant(), soft_weight=0.5, temperature=2.0, regions=True)
    teacher = torch.tensor([LN3 * 2, 0.0]).view(1, 2, 1, 1).expand(1, 2, 2, 3)
    value = loss(torch.zeros(1, 2, 2, 3), [torch.zeros(1, 2, 2, 3), teacher])
    assert value.item() == pytest.approx(0.5 * 10 + 0.5 * 4 * DIVERGENCE / 2, rel=1e-5)


def test_deep_supervision_by_hand() -> None:
    """Half of the voxels have 3/4, half 1/4: in the second output, of one voxel, the mean is the student's 1/2."""
    wrapped = DeepSupervisionWrapper(Constant(), (0.8, 0.2, 0))
    loss = DistillationLoss(wrapped, soft_weight=0.5, temperature=1.0, regions=False)
    certainty = torch.tensor([[LN3, -LN3], [-LN3, LN3]])
    teacher = torch.stack([certainty, torch.zeros(2, 2)])[None]
    outputs = [torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 1, 1), torch.full((1, 2, 1, 1), torch.nan)]
    targets = [torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)]
    value = loss(outputs, [*targets, teacher])
    assert value.item() == pytest.approx(0.5 * 10 + 0.5 * 0.8 * DIVERGENCE, rel=1e-5)


@pytest.mark.parametrize("regions", [False, True])
def test_gradient_is_that_of_cross_entropy_with_soft_targets(regions: bool) -> None:
    torch.manual_seed(0)
    teacher = torch.randn(2, 3, 4, 4, 4)
    student = torch.randn(2, 3, 4, 4, 4, requires_grad=True)
    loss = DistillationLoss(Constant(), soft_weight=1, temperature=3, regions=regions)
    loss(student, [torch.zeros(2, 1, 4, 4, 4), teacher]).backward()
    other = student.detach().clone().requires_grad_()
    if regions:
        expected = 9 * functional.binary_cross_entropy_with_logits(other / 3, (teacher / 3).sigmoid())
    else:
        expected = 9 * functional.cross_entropy(other / 3, (teacher / 3).softmax(1))
    expected.backward()
    torch.testing.assert_close(student.grad, other.grad)


@pytest.mark.parametrize("regions", [False, True])
def test_nothing_to_learn_from_an_equal(regions: bool) -> None:
    torch.manual_seed(0)
    teacher = 100 * torch.randn(1, 3, 4, 4)  # probabilities of 0 and 1 among them
    student = teacher.clone().requires_grad_()
    loss = DistillationLoss(Constant(), soft_weight=1, temperature=1, regions=regions)
    value = loss(student, [torch.zeros(1, 1, 4, 4), teacher])
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(student.grad, torch.zeros_like(teacher))


def test_without_a_teachers_target_it_is_the_loss_of_the_labels() -> None:
    loss = DistillationLoss(Constant(), soft_weight=1, temperature=1, regions=False)
    assert loss(torch.zeros(1, 2, 2, 2), torch.zeros(1, 1, 2, 2)).item() == 10
    deep = DistillationLoss(DeepSupervisionWrapper(Constant(), (0.5,)), soft_weight=1, temperature=1, regions=False)
    assert deep([torch.zeros(1, 2, 2, 2)], [torch.zeros(1, 1, 2, 2)]).item() == 5


@pytest.mark.parametrize(("weight", "temperature"), [(-0.1, 1), (1.1, 1), (0.5, 0), (float("nan"), 1)])
def test_numbers_out_of_range(weight: float, temperature: float) -> None:
    with pytest.raises(ValueError, match=f"soft_weight={weight} and temperature={temperature}: expected a weight from"):
        DistillationLoss(Constant(), soft_weight=weight, temperature=temperature, regions=False)
