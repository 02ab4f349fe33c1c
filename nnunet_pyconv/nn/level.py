"""A level of a pyramid: one grouped convolution."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """One level of a pyramid, resolved for the channels of a layer.

    Attributes:
        kernel_size: Edge of the kernel along each spatial axis, odd.
        groups: Number of groups; divides `in_channels` and `out_channels`.
        in_channels: Input channels that this level convolves.
        out_channels: Output channels of this level.
        dilation: Distance of the kernel's elements along each spatial axis, in pixels; 1 where the kernel is 1.
        first_in_channel: The first of the layer's input channels that this level convolves.
    """

    kernel_size: tuple[int, ...]
    groups: int
    in_channels: int
    out_channels: int
    dilation: tuple[int, ...]
    first_in_channel: int = 0

    @property
    def inputs(self) -> int:
        """Input channels of a group."""
        return self.in_channels // self.groups

    @property
    def outputs(self) -> int:
        """Output channels of a group."""
        return self.out_channels // self.groups

    @property
    def padding(self) -> tuple[int, ...]:
        """Padding along each spatial axis that keeps the size of the feature map."""
        return tuple(edge // 2 for edge in self.reach)

    @property
    def reach(self) -> tuple[int, ...]:
        """Edge of the window that one output sees along each spatial axis, in pixels: the dilated kernel's."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation, strict=True))

    def __str__(self) -> str:
        """Kernel, groups and output channels, for example `5x5 /4 -> 16` or `3x3 dilated by 2 /1 -> 16`."""
        text = "x".join(map(str, self.kernel_size))
        if max(self.dilation) > 1:
            text += f" dilated by {max(self.dilation)}"
        return f"{text} /{self.groups} -> {self.out_channels}"
