"""What the tests of the backends share: marks, and the comparison with the reference."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from nnunet_pyconv.nn.backends import available_backends, use_backend

# The kernel is compiled here, once for all tests of a process. Without a compiler, the one warning of the fallback is
# given here, where it is no error; what needs the kernel is skipped with its reason.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    NO_KERNEL = available_backends()["native"]

needs_kernel = pytest.mark.skipif(NO_KERNEL is not None, reason=f"no compiled kernel: {NO_KERNEL}")
NATIVE = pytest.param("native", marks=needs_kernel)


def run(setting: str, layer: torch.nn.Module, x: torch.Tensor, seed: int = 0) -> list[torch.Tensor]:
    """Return the output and the gradients of all that requires one, for a fixed random output gradient."""
    wanted = [t for t in (x, *layer.parameters()) if t.requires_grad]
    with use_backend(setting):
        y = layer(x)
        gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed)).to(y.dtype)
        return [y.detach(), *(torch.autograd.grad(y, wanted, gradient) if wanted else ())]


def assert_agrees(setting: str, layer: torch.nn.Module, x: torch.Tensor, tolerance: float = 2e-5) -> None:
    """Compare a backend with the reference: output and all gradients."""
    # In double precision, because some library gradients are wrong in single: torch 2.15, 9 x 9 x 9 kernel, stride 3.
    exact = x.detach().double().requires_grad_(x.requires_grad)
    results, expected = run(setting, layer, x), run("reference", copy.deepcopy(layer).double(), exact)
    for result, reference in zip(results, expected, strict=True):
        assert result.shape == reference.shape
        assert result.dtype == x.dtype
        scale = max(float(reference.abs().max()), 1e-3) if reference.numel() else 1.0
        torch.testing.assert_close(result.double(), reference, rtol=0, atol=tolerance * scale)
