"""PyConv2d and PyConv3d: parallel convolutions with growing kernels on the same input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from nnunet_pyconv.nn.backends import ScriptedLevels, Workload, backend_for, pyconv, workload_of
from nnunet_pyconv.nn.level import Level
from nnunet_pyconv.nn.pyramid import Pyramid


class PyConv(nn.Module):
    """What `PyConv2d` and `PyConv3d` share.

    Level z convolves its input channels (all, or its own share in a depthwise pyramid) with kernel `K_z` in `G_z`
    groups and gives `C_z` output channels; the outputs of the levels are concatenated. The padding is that of an odd
    "same" convolution, so the output has the size that a 3-kernel with padding 1 would give, whatever the input size
    and stride.

    Attributes:
        conv: `nn.Conv2d` or `nn.Conv3d`.
        pyramid: The specification of the levels.
        levels: The n grouped convolutions in pyramid order; they hold the only parameters.
    """

    _dim: ClassVar[int]
    conv: ClassVar[type[nn.Conv2d] | type[nn.Conv3d]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        pyramid: Pyramid = Pyramid(),  # noqa: B008  # frozen
        stride: int | Sequence[int] = 1,
        bias: bool = False,
    ) -> None:
        """Build the levels.

        Args:
            in_channels: Input channels.
            out_channels: Output channels of all levels together.
            pyramid: Kernels, dilations, groups and shares of the levels; one level is a plain convolution.
            stride: Stride, one for all axes or one each.
            bias: Whether the levels have a bias.

        Raises:
            TypeError: Something else than a pyramid.
            ValueError: A pyramid that does not fit the channels, see `Pyramid.levels`, or a stride that is not
                positive.
        """
        super().__init__()
        if not isinstance(pyramid, Pyramid):
            raise TypeError(
                f"pyramid={pyramid!r} is not a pyramid; for levels with these kernels give Pyramid({pyramid})"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.pyramid = pyramid
        self.stride = _per_axis(stride, self._dim)
        self.levels = nn.ModuleList(
            self._module(level, bias) for level in pyramid.levels(in_channels, out_channels, self._dim)
        )

    def _module(self, level: Level, bias: bool) -> nn.Module:
        return self.conv(
            level.in_channels,
            level.out_channels,
            level.kernel_size,  # type: ignore[arg-type]  # a tuple of _dim ints
            stride=self.stride,  # type: ignore[arg-type]
            padding=level.padding,  # type: ignore[arg-type]
            dilation=level.dilation,  # type: ignore[arg-type]
            groups=level.groups,
            bias=bias,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve.

        Args:
            x: `(N, in_channels, [Z,] Y, X)`.

        Returns:
            `(N, out_channels, [Z',] Y', X')` with `Y' = ceil(Y / stride)`; the levels' outputs in pyramid order.
        """
        return pyconv(x, self.levels, self._dim, shares=self.pyramid.depthwise)

    def backend_for(self, x: torch.Tensor) -> str:
        """Tell which backend `forward` takes for an input: "native", "fold", "triton" or "reference"."""
        return backend_for(x, self.levels, self._dim, shares=self.pyramid.depthwise)

    def workload(self, x: torch.Tensor) -> Workload | None:
        """Describe what `forward` asks of a backend; None where it can only take the reference."""
        return workload_of(x, self.levels, self._dim, shares=self.pyramid.depthwise)

    def __prepare_scriptable__(self) -> nn.Module:  # torch.jit.script asks for it
        return ScriptedLevels(self.levels, self._dim, shares=self.pyramid.depthwise)

    def extra_repr(self) -> str:
        """Channels and, for each level, kernel, dilation, groups and output channels."""
        levels = self.pyramid.levels(self.in_channels, self.out_channels, self._dim)
        text = f"{self.in_channels}, {self.out_channels}, levels: {', '.join(map(str, levels))}"
        if set(self.stride) != {1}:
            text += f", stride={self.stride}"
        return text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


class PyConv2d(PyConv):
    """Pyramidal convolution of `(N, C, Y, X)` (paper, section "Methods", Eq. 5 to 8)."""

    _dim = 2
    conv = nn.Conv2d


class PyConv3d(PyConv):
    """Pyramidal convolution of `(N, C, Z, Y, X)` (paper, section "Methods", Eq. 5 to 8, with `K^3`)."""

    _dim = 3
    conv = nn.Conv3d


def _per_axis(stride: int | Sequence[int], dim: int) -> tuple[int, ...]:
    strides = (stride,) * dim if isinstance(stride, int) else tuple(stride)
    if len(strides) != dim or min(strides) < 1:
        raise ValueError(f"stride {stride} can't be used; expected a positive int, or {dim} of them")
    return strides
