"""PyConv2d and PyConv3d: parallel grouped convolutions with growing kernels on the same input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from nnunet_pyconv.nn.backends import ScriptedLevels, backend_for, pyconv
from nnunet_pyconv.nn.pyramid import KernelSize, Level, Pyramid


class PyConv(nn.Module):
    """What `PyConv2d` and `PyConv3d` share.

    Level z convolves all input channels with kernel `K_z` in `G_z` groups and gives `C_z` output channels; the
    outputs of the levels are concatenated. The padding is that of an odd "same" convolution, so the output has the
    size that a 3-kernel with padding 1 would give, whatever the input size and stride.

    Attributes:
        conv: `nn.Conv2d` or `nn.Conv3d`.
        levels: The n grouped convolutions in pyramid order; they hold the only parameters.
    """

    _dim: ClassVar[int]
    conv: ClassVar[type[nn.Conv2d] | type[nn.Conv3d]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_sizes: Sequence[KernelSize] = (3, 5, 7, 9),
        groups: Sequence[int] | None = None,
        split: Sequence[float] | None = None,
        stride: int | Sequence[int] = 1,
        dilation: int | Sequence[int] = 1,
        bias: bool = False,
    ) -> None:
        """Build the levels.

        Args:
            in_channels: Input channels.
            out_channels: Output channels of all levels together.
            kernel_sizes: Odd kernel of each level, small to large; one level is a plain convolution.
            groups: Groups of each level, or None for the rule of `Pyramid`.
            split: Output channels (or fractions of them) of each level, or None for equal shares.
            stride: Stride, one for all axes or one each.
            dilation: Dilation, one for all axes or one each.
            bias: Whether the levels have a bias.

        Raises:
            ValueError: An even kernel; kernel_sizes, groups and split of unequal length; groups that do not divide
                the channels; a split that does not add up.
        """
        super().__init__()
        pyramid = Pyramid(kernel_sizes, groups, split)  # type: ignore[arg-type]  # it makes tuples of them
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = _per_axis(stride, self._dim)
        self.dilation = _per_axis(dilation, self._dim)
        self.levels = nn.ModuleList(
            self._level(level, bias) for level in pyramid.levels(in_channels, out_channels, self._dim)
        )

    def _level(self, level: Level, bias: bool) -> nn.Module:
        padding = tuple(d * (k - 1) // 2 for d, k in zip(self.dilation, level.kernel_size, strict=True))
        return self.conv(
            self.in_channels,
            level.out_channels,
            level.kernel_size,  # type: ignore[arg-type]  # a tuple of _dim ints
            stride=self.stride,  # type: ignore[arg-type]
            padding=padding,  # type: ignore[arg-type]
            dilation=self.dilation,  # type: ignore[arg-type]
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
        return pyconv(x, self.levels, self._dim)

    def backend_for(self, x: torch.Tensor) -> str:
        """Tell how `forward` would execute this input: "native", "fold", "triton" or "reference"."""
        return backend_for(x, self.levels, self._dim)

    def __prepare_scriptable__(self) -> nn.Module:  # torch.jit.script asks for it
        return ScriptedLevels(self.levels, self._dim)

    def extra_repr(self) -> str:
        """Channels and, for each level, kernel, groups and output channels."""
        levels = ", ".join(
            str(Level(level.kernel_size, level.groups, level.out_channels))  # type: ignore[arg-type]
            for level in self.levels
        )
        text = f"{self.in_channels}, {self.out_channels}, levels: {levels}"
        if set(self.stride) != {1}:
            text += f", stride={self.stride}"
        if set(self.dilation) != {1}:
            text += f", dilation={self.dilation}"
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


def _per_axis(value: int | Sequence[int], dim: int) -> tuple[int, ...]:
    values = (value,) * dim if isinstance(value, int) else tuple(value)
    if len(values) != dim or min(values) < 1:
        raise ValueError(f"stride or dilation {value} can't be used; expected a positive int, or {dim} of them")
    return values
