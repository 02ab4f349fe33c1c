"""The specification of a pyramid: kernels, dilations, groups, and shares of the inputs and outputs of its levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from typing import Any

from nnunet_pyconv.nn.level import Level
from nnunet_pyconv.nn.shares import equal_shares, given_shares, groupable_shares, groups_by_rule

PerAxis = int | tuple[int, ...]
"""One number for all spatial axes, or one for each."""


@dataclass(frozen=True)
class Pyramid:
    """What the levels of a pyramidal convolution are, for any number of channels.

    The rules for groups, shares and number of levels live here and in `shares.py`, and nowhere else. It goes into plans
    files as plain JSON, see `to_json`. Published forms are values of it:

    - `Pyramid()` has kernels 3, 5, 7, 9 on all input channels, in growing numbers of groups: PyConv (Duta et al. 2020,
      arXiv:2006.11538; paper, Eq. 5 to 8).
    - `DILATED` has dense kernels of 3 with dilations 1, 2, 3, 4, hence the reach of 3, 5, 7, 9. It is kin to atrous
      spatial pyramid pooling (ASPP; Chen et al. 2018, arXiv:1606.00915), in the place of every convolution.
    - `DEPTHWISE` has kernels 3, 5, 7, 9, each on a share of the input channels of its own, channel by channel: MixConv
      (Tan and Le 2019, arXiv:1907.09595). MK-UNet (Rahman and Marculescu 2025, arXiv:2509.18493) builds a U-Net of
      depthwise convolutions with several kernels likewise.

    **Groups.** Eq. 7 gives level z the groups `K_z^d / K_1^d`, with which the pyramid costs what one convolution
    of kernel `K_1` costs (Eq. 8). Groups must divide the input channels and the level's output channels, so
    `groups=None` takes the smallest common divisor that is at least this ratio, or the largest common divisor
    where none is. For 64 channels in 2D that gives the published 1, 4, 8, 16. Groups can't outnumber a level's
    channels: with equal shares, 3D has the published 1, 8, 16, 32 from 128 channels on (64 have 1, 8, 16, 16), and
    narrow or odd layers (32 channels in 3D, 16 in 2D, prime numbers) cost more than Eq. 8 says.

    **Shares.** `split=None` gives every level an equal share of the output channels. Where the groups of Eq. 7 can't
    divide that share (512 channels in three levels), the share is rounded down to a multiple of the groups, and the
    first level, which has one group, takes the rest. Of the inputs each level takes all; a depthwise level takes its
    own share, which is that of the outputs.

    **Levels.** A level without any output channel is left out: 3 output channels get three levels at most. A stage of a
    network keeps the levels that fit its feature map and, in 3D, its channels, see `fitted`.

    Attributes:
        kernel_sizes: Kernel of each level, small reach to large. An int grows along every axis; a tuple gives each axis
            its own edge. All edges are odd.
        groups: Groups of each level, or None for the rule above.
        split: Output channels of each level (ints that add up to the output channels) or their fractions (floats
            that add up to 1, as in `torch.utils.data.random_split`), or None for equal shares.
        dilations: Dilation of each level, in the form of the kernels, or None for no dilation.
        depthwise: Whether each level convolves its own share of the input channels, one group a channel.

    Raises:
        ValueError: No level, an even or non-positive kernel, a dilation below 1, `groups`, `split` or `dilations` of
            another length, or groups of a depthwise pyramid.
    """

    kernel_sizes: tuple[PerAxis, ...] = (3, 5, 7, 9)
    groups: tuple[int, ...] | None = None
    split: tuple[float, ...] | None = None
    dilations: tuple[PerAxis, ...] | None = None
    depthwise: bool = False

    def __post_init__(self) -> None:
        for name in _OF_LEVELS:
            value = getattr(self, name)
            if isinstance(value, (int, float)):
                raise ValueError(f"{name}={value} is a single number; give one for each level, for example ({value},)")
            if value is not None:  # JSON and callers bring lists; a frozen, hashable value needs tuples
                object.__setattr__(self, name, tuple(tuple(v) if isinstance(v, list) else v for v in value))
        if not self.kernel_sizes:
            raise ValueError("kernel_sizes is empty; a pyramid needs at least one level, for example (3, 5, 7, 9)")
        for name, values, example in (
            ("kernel_sizes", self.kernel_sizes, "odd ones, as (3, 5, 7, 9)"),
            ("dilations", self.dilations or (), "one a level, as (1, 2, 3, 4)"),
        ):
            if any(isinstance(n, bool) or not isinstance(n, int) for value in values for n in _numbers(value)):
                raise ValueError(f"{name}={values} are not whole numbers; give {example}")
        for kernel_size in self.kernel_sizes:
            if any(edge < 1 or edge % 2 == 0 for edge in _numbers(kernel_size)):
                raise ValueError(
                    f"kernel {kernel_size} in kernel_sizes={self.kernel_sizes} is not odd and positive; "
                    "only odd kernels keep the size of the feature map, for example (3, 5, 7, 9)"
                )
        for name in _OF_LEVELS:
            value = getattr(self, name)
            if value is not None and len(value) != len(self.kernel_sizes):
                raise ValueError(
                    f"{name}={value} has {len(value)} entries for {len(self.kernel_sizes)} levels "
                    f"(kernel_sizes={self.kernel_sizes}); give one entry a level, or None for the default"
                )
        if any(n < 1 for value in self.dilations or () for n in _numbers(value)):
            raise ValueError(f"dilations={self.dilations} are not all positive; 1 means no dilation")
        if not isinstance(self.depthwise, bool):
            raise ValueError(f"depthwise={self.depthwise!r}: expected True or False")
        if self.depthwise and self.groups is not None:
            raise ValueError(
                f"groups={self.groups} of a depthwise pyramid, which has one group a channel; leave it out"
            )

    def levels(self, in_channels: int, out_channels: int, dim: int) -> tuple[Level, ...]:
        """Resolve the pyramid for a layer.

        Args:
            in_channels: Input channels, at least 1.
            out_channels: Output channels of all levels together, at least 1.
            dim: Number of spatial axes, 2 or 3.

        Returns:
            The levels, small kernel to large; their `out_channels` add up to `out_channels`.

        Raises:
            ValueError: `groups` that do not divide the channels, a `split` that does not add up, a kernel or dilation
                given for another number of axes, or other outputs than inputs of a depthwise pyramid.
        """
        if in_channels < 1 or out_channels < 1:
            raise ValueError(f"in_channels={in_channels}, out_channels={out_channels}: both must be at least 1")
        if self.depthwise and in_channels != out_channels:
            raise ValueError(
                f"in_channels={in_channels}, out_channels={out_channels}: a depthwise pyramid has as many outputs as "
                "inputs; use PyConvSeparable, which has a 1 x 1 convolution after it"
            )
        kernels, dilations = self._per_axis(dim)
        ratios = [Fraction(math.prod(kernel), math.prod(kernels[0])) for kernel in kernels]  # Eq. 7
        if self.split is not None:
            shares = given_shares(self.split, out_channels)
        elif self.depthwise:
            shares = equal_shares(out_channels, len(kernels))
        else:
            wanted = ratios if self.groups is None else [Fraction(groups) for groups in self.groups]
            shares = groupable_shares(in_channels, out_channels, wanted)
        levels: list[Level] = []
        for z, (kernel, dilation, share) in enumerate(zip(kernels, dilations, shares, strict=True)):
            if share == 0:
                continue
            if self.depthwise:
                first = sum(level.in_channels for level in levels)
                levels.append(Level(kernel, share, share, share, dilation, first))
            else:
                groups = self._groups(z, in_channels, share, ratios[z])
                levels.append(Level(kernel, groups, in_channels, share, dilation))
        return tuple(levels)

    def _groups(self, z: int, in_channels: int, share: int, ratio: Fraction) -> int:
        if self.groups is None:
            return groups_by_rule(in_channels, share, ratio)
        groups = self.groups[z]
        if groups < 1 or in_channels % groups or share % groups:
            raise ValueError(
                f"groups={groups} of the level with kernel {self.kernel_sizes[z]} does not divide its {in_channels} "
                f"input and {share} output channels; choose a common divisor, or groups=None for the rule"
            )
        return groups

    def fitted(self, map_size: Sequence[int], channels: int | None = None) -> Pyramid:
        """Leave out the levels that are too large for a stage of a network. The first level always stays.

        **Feature map.** The reach of a level (its kernel, dilated) may not be larger than the feature map along any
        axis; beyond that, most of it would lie on padding. So 9 needs 9 pixels, 7 needs 7, and a 4 x 4 map has the
        reach 3 alone.

        **Channels, in 3D.** The groups of Eq. 7 grow with the cube of the kernel, 1, 5, 13, 27 for 3, 5, 7, 9, and
        can't outnumber the channels of a level. Where groups and split are left to the rules, a level stays if the
        stage's channels, shared equally among it and those before it, can have at least half of its groups. So 9 needs
        56 channels and 7 needs 21; nnU-Net's first stage, 32 wide, has 3, 5, 7. Multiplications of such a layer, as a
        multiple of the 3 x 3 x 3 convolution's: 1.04 for 32 channels in three levels (1.64 in four), 1.02 for 64 in
        four, 0.80 for 128 in four.

        In 2D all levels stay: nnU-Net's narrowest stage has 8 of the 9 groups of its last level, and costs 0.88. So do
        those of a depthwise pyramid, which has all the groups there are.

        Args:
            map_size: Edge lengths of the feature map in pixels.
            channels: Output channels of the stage; None for any.

        Returns:
            The same pyramid with the levels that fit. Fractions in `split` are scaled to add up to 1 again.
        """
        kernels, dilations = self._per_axis(len(map_size))
        fits = [
            z == 0
            or (
                all(d * (k - 1) < size for k, d, size in zip(kernel, dilation, map_size, strict=True))
                and self._has_groups(z, kernel, channels)
            )
            for z, (kernel, dilation) in enumerate(zip(kernels, dilations, strict=True))
        ]
        return self._with_levels(fits)

    def smallest(self, levels: int) -> Pyramid:
        """Return the same pyramid with so many of its levels, those of the smallest reach.

        Args:
            levels: At least 1. Of a pyramid that has fewer, all stay.

        Raises:
            ValueError: Less than one level.
        """
        if levels < 1:
            raise ValueError(f"levels={levels}: a pyramid has at least one")
        return self._with_levels([z < levels for z in range(len(self.kernel_sizes))])

    def along(self, kernel_size: Sequence[int], dilation: Sequence[int] | None = None) -> Pyramid:
        """Grow only along the axes along which a given convolution has a kernel larger than 1.

        Args:
            kernel_size: Kernel of the convolution that the pyramid replaces; `(1, 3, 3)` lets the pyramid
                (3, 5, 7, 9) grow to (1, 9, 9).
            dilation: Its dilation, with which those of the levels are multiplied; None for none.

        Returns:
            The same pyramid, with one edge an axis if the axes differ.
        """
        factors = tuple(dilation or (1,) * len(kernel_size))
        if min(kernel_size) > 1 and max(factors) == 1:
            return self
        kernels, dilations = self._per_axis(len(kernel_size))
        flat = tuple(_at_axes(kernel, kernel_size) for kernel in kernels)
        if self.dilations is None and max(factors) == 1:
            return replace(self, kernel_sizes=flat)
        dilated = (tuple(d * f for d, f in zip(each, factors, strict=True)) for each in dilations)
        return replace(self, kernel_sizes=flat, dilations=tuple(_at_axes(each, kernel_size) for each in dilated))

    def first(self) -> Pyramid:
        """Return the dense pyramid with nothing but the first level's kernel: a plain convolution."""
        return Pyramid(self.kernel_sizes[:1], dilations=None if self.dilations is None else self.dilations[:1])

    @property
    def reaches(self) -> tuple[PerAxis, ...]:
        """Reach of each level, in pixels: the kernel's edge, or that of the window which a dilated kernel covers."""
        axes = [len(n) for n in (*self.kernel_sizes, *(self.dilations or ())) if isinstance(n, tuple)]
        kernels, dilations = self._per_axis(axes[0] if axes else 1)
        reaches = [
            tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
            for kernel, dilation in zip(kernels, dilations, strict=True)
        ]
        return tuple(reaches) if axes else tuple(reach[0] for reach in reaches)

    def to_json(self) -> dict[str, Any]:
        """Return the specification as plain JSON values; `from_json` reads it back.

        `dilations` and `depthwise` are left out where they say nothing.
        """
        values = asdict(self)
        values = {name: value for name, value in values.items() if value or name not in ("dilations", "depthwise")}
        for name in _OF_LEVELS:
            if values.get(name) is not None:
                values[name] = [list(each) if isinstance(each, tuple) else each for each in values[name]]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Pyramid:
        """Build the specification from what `to_json` returned.

        Raises:
            ValueError: A key that a pyramid does not have.
        """
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(
                f"unknown keys {unknown} in the pyramid {dict(values)}; it has {', '.join(known[:-1])} and {known[-1]}"
            )
        return cls(**values)

    def _per_axis(self, dim: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Return kernels and dilations with one number an axis; a dilation along a kernel of 1 is none."""
        kernels = [_at_each_axis(kernel, dim, "kernel") for kernel in self.kernel_sizes]
        dilations = [_at_each_axis(d, dim, "dilation") for d in self.dilations or (1,) * len(kernels)]
        return kernels, [_at_axes(d, kernel) for d, kernel in zip(dilations, kernels, strict=True)]

    def _with_levels(self, keep: Sequence[bool]) -> Pyramid:
        """Keep some levels; fractions in `split` are scaled to add up to 1 again."""
        if all(keep):
            return self
        kept: dict[str, Any] = {
            name: tuple(each for each, stays in zip(getattr(self, name), keep, strict=True) if stays)
            for name in _OF_LEVELS
            if getattr(self, name) is not None
        }
        if self.split is not None:
            kept["split"] = tuple(share / sum(kept["split"]) for share in kept["split"])
        return replace(self, **kept)

    def _has_groups(self, z: int, kernel: tuple[int, ...], channels: int | None) -> bool:
        """Tell whether a stage with so many channels can give level z half of the groups of Eq. 7."""
        if channels is None or len(kernel) == 2 or self.depthwise or self.groups is not None or self.split is not None:
            return True
        first = _at_each_axis(self.kernel_sizes[0], len(kernel), "kernel")
        return 2 * (channels // (z + 1)) * math.prod(first) >= math.prod(kernel)


_OF_LEVELS = ("kernel_sizes", "groups", "split", "dilations")
"""Attributes with an entry for each level."""


def _numbers(value: PerAxis) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def _at_each_axis(value: PerAxis, dim: int, what: str) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        return (value,) * dim
    if len(value) != dim:
        raise ValueError(f"{what} {value} has {len(value)} axes; expected {dim}")
    return value


def _at_axes(values: Sequence[int], kernel_size: Sequence[int]) -> tuple[int, ...]:
    """Set values to 1 along the axes along which a kernel is 1."""
    return tuple(1 if edge == 1 else value for value, edge in zip(values, kernel_size, strict=True))


DILATED = Pyramid((3, 3, 3, 3), groups=(1, 1, 1, 1), dilations=(1, 2, 3, 4))
DEPTHWISE = Pyramid(depthwise=True)
