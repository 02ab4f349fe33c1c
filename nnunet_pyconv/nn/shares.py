"""How the levels of a pyramid share the channels of a layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def equal_shares(channels: int, levels: int) -> list[int]:
    """Share channels equally among levels; what is left over goes to the first levels, one channel each."""
    return [channels // levels + (z < channels % levels) for z in range(levels)]


def groupable_shares(in_channels: int, out_channels: int, groups: Sequence[Fraction]) -> list[int]:
    """Share output channels equally, as far as groups allow it.

    Args:
        in_channels: Input channels of each level.
        out_channels: Output channels of all levels together.
        groups: The number of groups that each level wants at least.

    Returns:
        Output channels of each level. Where the groups can't divide an equal share, it is rounded down to a multiple of
        a number of groups that can, and the first level takes the rest.
    """
    shares = equal_shares(out_channels, len(groups))
    for z in range(1, len(groups)):
        if math.gcd(in_channels, shares[z]) < groups[z]:
            possible = [g for g in _divisors(in_channels) if g <= shares[z]]
            shares[z] -= shares[z] % next((g for g in possible if g >= groups[z]), possible[-1] if possible else 1)
    shares[0] = out_channels - sum(shares[1:])
    return shares


def given_shares(split: Sequence[float], channels: int) -> list[int]:
    """Share channels as a split says.

    Args:
        split: Channels of each level (ints), or their fractions (floats).
        channels: Channels of all levels together.

    Returns:
        Channels of each level.

    Raises:
        ValueError: A split that does not add up to the channels or to 1, or a level without channels.
    """
    if all(isinstance(share, int) for share in split):
        if sum(split) != channels or min(split) < 1:
            raise ValueError(
                f"split={tuple(split)} adds up to {sum(split)}, not to the {channels} output channels; "
                "give positive channel counts that do, fractions that add up to 1, or None for equal shares"
            )
        return [int(share) for share in split]
    if not math.isclose(sum(split), 1.0, abs_tol=1e-6) or min(split) <= 0:
        raise ValueError(
            f"split={tuple(split)} adds up to {sum(split):g}, not to 1; "
            "give positive fractions that do, channel counts, or None for equal shares"
        )
    shares = [math.floor(channels * share + 1e-6) for share in split]
    for z in range(channels - sum(shares)):
        shares[z] += 1
    return shares


def groups_by_rule(in_channels: int, out_channels: int, ratio: Fraction) -> int:
    """Return the smallest common divisor of the channels that is at least a ratio, or the largest where none is."""
    divisors = _divisors(math.gcd(in_channels, out_channels))
    return next((g for g in divisors if g >= ratio), divisors[-1])


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]
