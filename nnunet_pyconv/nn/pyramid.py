"""The specification of a pyramid: which kernels, groups and shares of the output its levels have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

KernelSize = int | tuple[int, ...]


@dataclass(frozen=True)
class Level:
    """One level of a pyramid, resolved for given channel counts: a grouped convolution.

    Attributes:
        kernel_size: Edge of the kernel along each spatial axis, odd.
        groups: Number of groups; divides the input channels and `out_channels`.
        out_channels: Output channels of this level.
    """

    kernel_size: tuple[int, ...]
    groups: int
    out_channels: int

    def __str__(self) -> str:
        kernel = "x".join(map(str, self.kernel_size))
        return f"{kernel} /{self.groups} -> {self.out_channels}"


@dataclass(frozen=True)
class Pyramid:
    """Kernels, groups and channel split of a pyramidal convolution (paper, Eq. 5 to 8).

    This is the one place where the rules for groups, split and number of levels live. It goes into plans files
    as plain JSON, see `to_json`.

    **Groups.** Eq. 7 gives level z the groups `K_z^d / K_1^d`, with which the pyramid costs what one convolution
    of kernel `K_1` costs (Eq. 8). Groups must divide the input channels and the level's output channels, so
    `groups=None` takes the smallest common divisor that is at least this ratio, or the largest common divisor
    where none is. For 64 channels in 2D that gives the published 1, 4, 8, 16. Groups can't outnumber a level's
    channels: with equal shares, 3D has the published 1, 8, 16, 32 from 128 channels on (64 have 1, 8, 16, 16), and
    narrow or odd layers (32 channels in 3D, 16 in 2D, prime numbers) cost more than Eq. 8 says.

    **Split.** `split=None` gives every level an equal share of the output channels. Where the groups of Eq. 7 can't
    divide that share (512 channels in three levels), the share is rounded down to a multiple of the groups, and the
    first level, which has one group, takes the rest.

    **Levels.** A level without any output channel is left out: 3 output channels get three levels at most. A stage of a
    network keeps the levels that fit its feature map and, in 3D, its channels, see `fitted`.

    Attributes:
        kernel_sizes: Kernel of each level, small to large. An int grows along every axis; a tuple gives each
            axis its own edge. All edges are odd.
        groups: Groups of each level, or None for the rule above.
        split: Output channels of each level (ints that add up to the output channels) or their fractions (floats
            that add up to 1, as in `torch.utils.data.random_split`), or None for equal shares.

    Raises:
        ValueError: No level, an even or non-positive kernel, or `groups` or `split` of another length.
    """

    kernel_sizes: tuple[KernelSize, ...] = (3, 5, 7, 9)
    groups: tuple[int, ...] | None = None
    split: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        # JSON and callers bring lists; a frozen, hashable value needs tuples.
        for name in ("kernel_sizes", "groups", "split"):
            value = getattr(self, name)
            if isinstance(value, (int, float)):
                raise ValueError(f"{name}={value} is a single number; give one for each level, for example ({value},)")
        object.__setattr__(self, "kernel_sizes", tuple(_frozen(k) for k in self.kernel_sizes))
        for name in ("groups", "split"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if any(isinstance(edge, bool) or not isinstance(edge, int) for k in self.kernel_sizes for edge in _edges(k)):
            raise ValueError(f"kernel_sizes={self.kernel_sizes} are not whole numbers; give odd ones, as (3, 5, 7, 9)")
        if not self.kernel_sizes:
            raise ValueError("kernel_sizes is empty; a pyramid needs at least one level, for example (3, 5, 7, 9)")
        for kernel_size in self.kernel_sizes:
            if any(edge < 1 or edge % 2 == 0 for edge in _edges(kernel_size)):
                raise ValueError(
                    f"kernel {kernel_size} in kernel_sizes={self.kernel_sizes} is not odd and positive; "
                    "only odd kernels keep the size of the feature map, for example (3, 5, 7, 9)"
                )
        for name in ("groups", "split"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.kernel_sizes):
                raise ValueError(
                    f"{name}={value} has {len(value)} entries for {len(self.kernel_sizes)} levels "
                    f"(kernel_sizes={self.kernel_sizes}); give one entry a level, or None for the default"
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
            ValueError: `groups` that do not divide the channels, a `split` that does not add up, or a kernel
                given for another number of axes.
        """
        if in_channels < 1 or out_channels < 1:
            raise ValueError(f"in_channels={in_channels}, out_channels={out_channels}: both must be at least 1")
        kernels = [_per_axis(kernel_size, dim) for kernel_size in self.kernel_sizes]
        ratios = [Fraction(math.prod(kernel), math.prod(kernels[0])) for kernel in kernels]  # Eq. 7
        if self.split is None:
            wanted = ratios if self.groups is None else [Fraction(groups) for groups in self.groups]
            shares = _equal_shares(in_channels, out_channels, wanted)
        else:
            shares = self._shares(out_channels)
        levels = []
        for z, (kernel, share) in enumerate(zip(kernels, shares, strict=True)):
            if share == 0:
                continue
            if self.groups is None:
                groups = _groups_by_rule(in_channels, share, ratios[z])
            else:
                groups = self.groups[z]
                if groups < 1 or in_channels % groups or share % groups:
                    raise ValueError(
                        f"groups={groups} of the level with kernel {kernel} does not divide its {in_channels} input "
                        f"and {share} output channels; choose a common divisor, or groups=None for the rule"
                    )
            levels.append(Level(kernel, groups, share))
        return tuple(levels)

    def fitted(self, map_size: Sequence[int], channels: int | None = None) -> Pyramid:
        """Leave out the levels that are too large for a stage of a network. The first level always stays.

        **Feature map.** A kernel may not be larger than the feature map along any axis along which it grows; beyond
        that, most of it would lie on padding. So 9 needs 9 pixels, 7 needs 7, and a 4 x 4 map has the kernel 3 alone.

        **Channels, in 3D.** The groups of Eq. 7 grow with the cube of the kernel, 1, 5, 13, 27 for 3, 5, 7, 9, and
        can't outnumber the channels of a level. Where groups and split are left to the rules, a level stays if the
        stage's channels, shared equally among it and those before it, can have at least half of its groups. So 9 needs
        64 channels and 7 needs 32; nnU-Net's first stage, 32 wide, has 3, 5, 7. Multiplications of such a layer, as a
        multiple of the 3 x 3 x 3 convolution's: 1.04 for 32 channels in three levels (1.64 in four), 1.02 for 64 in
        four, 0.80 for 128 in four.

        In 2D all levels stay: nnU-Net's narrowest stage has 8 of the 9 groups of its last level, and costs 0.88.

        Args:
            map_size: Edge lengths of the feature map in pixels.
            channels: Output channels of the stage; None for any.

        Returns:
            The same pyramid with the levels that fit. Fractions in `split` are scaled to add up to 1 again.
        """
        dim = len(map_size)
        kernels = [_per_axis(kernel, dim) for kernel in self.kernel_sizes]
        fits = [
            z == 0
            or (all(k <= size for k, size in zip(kernel, map_size, strict=True)) and self._carries(z, kernel, channels))
            for z, kernel in enumerate(kernels)
        ]
        if all(fits):
            return self
        split = None
        if self.split is not None:
            kept = [share for share, fit in zip(self.split, fits, strict=True) if fit]
            split = tuple(share / sum(kept) for share in kept)
        return Pyramid(
            kernel_sizes=tuple(k for k, fit in zip(self.kernel_sizes, fits, strict=True) if fit),
            groups=None if self.groups is None else tuple(g for g, fit in zip(self.groups, fits, strict=True) if fit),
            split=split,
        )

    def along(self, kernel_size: Sequence[int]) -> Pyramid:
        """Grow only along the axes along which a given convolution has a kernel larger than 1.

        Args:
            kernel_size: Kernel of the convolution that the pyramid replaces; `(1, 3, 3)` lets the pyramid
                (3, 5, 7, 9) grow to (1, 9, 9).

        Returns:
            The same pyramid, with one edge an axis if the axes differ.
        """
        if min(kernel_size) > 1:
            return self
        return Pyramid(
            kernel_sizes=tuple(
                tuple(
                    1 if base == 1 else k
                    for base, k in zip(kernel_size, _per_axis(kernel, len(kernel_size)), strict=True)
                )
                for kernel in self.kernel_sizes
            ),
            groups=self.groups,
            split=self.split,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the specification as plain JSON values; `from_json` reads it back."""
        return {
            "kernel_sizes": [list(k) if isinstance(k, tuple) else k for k in self.kernel_sizes],
            "groups": None if self.groups is None else list(self.groups),
            "split": None if self.split is None else list(self.split),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Pyramid:
        """Build the specification from what `to_json` returned.

        Raises:
            ValueError: A key that a pyramid does not have.
        """
        unknown = set(values) - {"kernel_sizes", "groups", "split"}
        if unknown:
            raise ValueError(
                f"unknown keys {sorted(unknown)} in the pyramid {dict(values)}; it has kernel_sizes, groups and split"
            )
        return cls(**values)

    def _carries(self, z: int, kernel: tuple[int, ...], channels: int | None) -> bool:
        """Tell whether a stage with so many channels can give level z half of the groups of Eq. 7."""
        if channels is None or len(kernel) == 2 or self.groups is not None or self.split is not None:
            return True
        first = _per_axis(self.kernel_sizes[0], len(kernel))
        return 2 * (channels // (z + 1)) * math.prod(first) >= math.prod(kernel)

    def _shares(self, out_channels: int) -> list[int]:
        assert self.split is not None
        if all(isinstance(share, int) for share in self.split):
            if sum(self.split) != out_channels or min(self.split) < 1:
                raise ValueError(
                    f"split={self.split} adds up to {sum(self.split)}, not to the {out_channels} output channels; "
                    "give positive channel counts that do, fractions that add up to 1, or None for equal shares"
                )
            return [int(share) for share in self.split]
        if not math.isclose(sum(self.split), 1.0, abs_tol=1e-6) or min(self.split) <= 0:
            raise ValueError(
                f"split={self.split} adds up to {sum(self.split):g}, not to 1; "
                "give positive fractions that do, channel counts, or None for equal shares"
            )
        shares = [math.floor(out_channels * share + 1e-6) for share in self.split]
        for z in range(out_channels - sum(shares)):
            shares[z] += 1
        return shares


def _frozen(kernel_size: int | Sequence[int]) -> KernelSize:
    return kernel_size if isinstance(kernel_size, int) else tuple(kernel_size)


def _edges(kernel_size: KernelSize) -> tuple[int, ...]:
    return kernel_size if isinstance(kernel_size, tuple) else (kernel_size,)


def _per_axis(kernel_size: KernelSize, dim: int) -> tuple[int, ...]:
    if isinstance(kernel_size, int):
        return (kernel_size,) * dim
    if len(kernel_size) != dim:
        raise ValueError(f"kernel {kernel_size} has {len(kernel_size)} axes; expected {dim}")
    return kernel_size


def _equal_shares(in_channels: int, out_channels: int, ratios: list[Fraction]) -> list[int]:
    n = len(ratios)
    shares = [out_channels // n + (z < out_channels % n) for z in range(n)]
    for z in range(1, n):
        if math.gcd(in_channels, shares[z]) < ratios[z]:
            possible = [g for g in _divisors(in_channels) if g <= shares[z]]
            shares[z] -= shares[z] % next((g for g in possible if g >= ratios[z]), possible[-1] if possible else 1)
    shares[0] = out_channels - sum(shares[1:])
    return shares


def _groups_by_rule(in_channels: int, out_channels: int, ratio: Fraction) -> int:
    divisors = _divisors(math.gcd(in_channels, out_channels))
    return next((g for g in divisors if g >= ratio), divisors[-1])


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]
