from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_pyconv.nn import DEPTHWISE, DILATED, Pyramid


@pytest.mark.parametrize(
    ("channels", "dim", "groups"),
    [
        pytest.param(64, 2, (1, 4, 8, 16), id="published-2d"),
        pytest.param(128, 3, (1, 8, 16, 32), id="published-3d-from-128-channels-on"),
        pytest.param(64, 3, (1, 8, 16, 16), id="3d-levels-of-16-channels-cannot-have-32-groups"),
        pytest.param(32, 2, (1, 4, 8, 8), id="fewer-channels-than-groups"),
        pytest.param(36, 2, (1, 3, 9, 9), id="not-a-power-of-two"),
        pytest.param(1, 2, (1,), id="one-channel"),
    ],
)
def test_groups_by_rule(channels: int, dim: int, groups: tuple[int, ...]) -> None:
    levels = Pyramid().levels(channels, channels, dim)
    assert tuple(level.groups for level in levels) == groups


def test_published_3d_groups_at_64_channels_with_the_published_split() -> None:
    levels = Pyramid(split=(0.125, 0.125, 0.25, 0.5)).levels(64, 64, dim=3)
    assert [level.groups for level in levels] == [1, 8, 16, 32]


@pytest.mark.parametrize(
    ("in_channels", "out_channels", "kernel_sizes", "shares"),
    [
        pytest.param(64, 64, (3, 5, 7, 9), [16, 16, 16, 16], id="even"),
        pytest.param(1, 10, (3, 5, 7, 9), [3, 3, 2, 2], id="rest-to-the-first"),
        pytest.param(3, 3, (3, 5, 7, 9), [1, 1, 1], id="fewer-channels-than-levels"),
        pytest.param(36, 36, (3, 5, 7, 9), [9, 9, 9, 9], id="36"),
        pytest.param(512, 512, (3, 5, 7), [176, 168, 168], id="rounded-to-the-groups"),
    ],
)
def test_equal_split(in_channels: int, out_channels: int, kernel_sizes: tuple[int, ...], shares: list[int]) -> None:
    levels = Pyramid(kernel_sizes).levels(in_channels, out_channels, dim=2)
    assert [level.out_channels for level in levels] == shares


@pytest.mark.parametrize("split", [(8, 8, 16, 32), (0.125, 0.125, 0.25, 0.5)], ids=["channels", "fractions"])
def test_published_split(split: tuple[float, ...]) -> None:
    levels = Pyramid(split=split).levels(64, 64, dim=2)
    assert [(level.groups, level.out_channels) for level in levels] == [(1, 8), (4, 8), (8, 16), (16, 32)]


def test_explicit_groups_decide_the_equal_split() -> None:
    levels = Pyramid((3, 5, 7), groups=(1, 8, 16)).levels(64, 64, dim=2)
    assert [(level.groups, level.out_channels) for level in levels] == [(1, 32), (8, 16), (16, 16)]


@given(
    in_channels=st.integers(1, 80),
    out_channels=st.integers(1, 80),
    n_levels=st.integers(1, 4),
    dim=st.sampled_from([2, 3]),
)
def test_rule_holds_for_any_channels(in_channels: int, out_channels: int, n_levels: int, dim: int) -> None:
    levels = Pyramid((3, 5, 7, 9)[:n_levels]).levels(in_channels, out_channels, dim)
    assert sum(level.out_channels for level in levels) == out_channels
    assert levels[0].groups == 1
    for level in levels:
        assert level.out_channels >= 1
        assert in_channels % level.groups == 0
        assert level.out_channels % level.groups == 0


@given(channels=st.sampled_from([32, 64, 128, 256, 320, 512]), n_levels=st.integers(1, 4))
def test_costs_no_more_than_one_convolution_at_nnunets_widths(channels: int, n_levels: int) -> None:
    """Eq. 8: with the groups of Eq. 7, all levels together cost what the convolution of the first kernel costs."""
    levels = Pyramid((3, 5, 7, 9)[:n_levels]).levels(channels, channels, dim=2)
    weights = sum(level.kernel_size[0] ** 2 * channels // level.groups * level.out_channels for level in levels)
    # at 32 channels the last level has 8 groups instead of the 9 of Eq. 7
    assert weights <= 9 * channels * channels


@pytest.mark.parametrize(
    ("map_size", "kernel_sizes"),
    [((9, 9), (3, 5, 7, 9)), ((8, 8), (3, 5, 7)), ((64, 6), (3, 5)), ((4, 4), (3,)), ((1, 1), (3,))],
)
def test_kernels_fit_the_map(map_size: tuple[int, ...], kernel_sizes: tuple[int, ...]) -> None:
    assert Pyramid().fitted(map_size).kernel_sizes == kernel_sizes


@pytest.mark.parametrize(
    ("channels", "kernel_sizes"),
    [(320, (3, 5, 7, 9)), (64, (3, 5, 7, 9)), (32, (3, 5, 7)), (16, (3, 5)), (4, (3,)), (None, (3, 5, 7, 9))],
)
def test_kernels_fit_the_channels_in_3d(channels: int | None, kernel_sizes: tuple[int, ...]) -> None:
    """9 wants 27 groups: 64 / 4 = 16 channels can have half of them, 32 / 4 = 8 can't."""
    assert Pyramid().fitted((99, 99, 99), channels).kernel_sizes == kernel_sizes


@pytest.mark.parametrize("channels", [32, 64, 128, 256, 320])
def test_costs_about_one_convolution_at_nnunets_widths_in_3d(channels: int) -> None:
    """Eq. 8, within the 4 % that 32 channels in three levels need more: groups 1, 8, 8 for 16, 8, 8 outputs."""
    levels = Pyramid().fitted((99, 99, 99), channels).levels(channels, channels, dim=3)
    weights = sum(level.kernel_size[0] ** 3 * channels // level.groups * level.out_channels for level in levels)
    assert weights <= 1.042 * 27 * channels * channels


@pytest.mark.parametrize(
    "pyramid",
    [Pyramid(groups=(1, 2, 4, 8)), Pyramid(split=(0.25, 0.25, 0.25, 0.25)), Pyramid().along((1, 3, 3))],
    ids=["groups", "split", "in-plane"],
)
def test_channels_leave_explicit_and_flat_pyramids_alone(pyramid: Pyramid) -> None:
    assert pyramid.fitted((99, 99, 99), channels=32) == pyramid


def test_channels_do_not_matter_in_2d() -> None:
    assert Pyramid().fitted((99, 99), channels=4) == Pyramid()


def test_fitted_keeps_groups_and_scales_fractions() -> None:
    fitted = Pyramid(groups=(1, 4, 8, 16), split=(0.125, 0.125, 0.25, 0.5)).fitted((6, 6))
    assert fitted == Pyramid((3, 5), groups=(1, 4), split=(0.5, 0.5))


def test_smallest_levels() -> None:
    assert Pyramid().smallest(2) == Pyramid((3, 5))
    assert DILATED.smallest(3) == Pyramid((3, 3, 3), groups=(1, 1, 1), dilations=(1, 2, 3))
    assert Pyramid(split=(0.25, 0.25, 0.25, 0.25)).smallest(2).split == (0.5, 0.5)
    assert Pyramid().smallest(9) == Pyramid()
    with pytest.raises(ValueError, match="levels=0: a pyramid has at least one"):
        Pyramid().smallest(0)


def test_grows_along_the_axes_of_the_convolution() -> None:
    along = Pyramid().along((1, 3, 3))
    assert along.kernel_sizes == ((1, 3, 3), (1, 5, 5), (1, 7, 7), (1, 9, 9))
    assert along.fitted((1, 7, 7)).kernel_sizes == ((1, 3, 3), (1, 5, 5), (1, 7, 7))
    assert [level.groups for level in along.levels(64, 64, dim=3)] == [1, 4, 8, 16]


@pytest.mark.parametrize(
    "pyramid",
    [
        Pyramid(),
        Pyramid((3, 5), groups=(1, 4), split=(0.25, 0.75)),
        Pyramid().along((1, 3, 3)),
        DILATED,
        DILATED.along((1, 3, 3)),
        DEPTHWISE,
    ],
    ids=["default", "explicit", "anisotropic", "dilated", "dilated-in-plane", "depthwise"],
)
def test_json_round_trip(pyramid: Pyramid) -> None:
    assert Pyramid.from_json(json.loads(json.dumps(pyramid.to_json()))) == pyramid


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_sizes": ()}, "kernel_sizes is empty"),
        ({"kernel_sizes": 3}, r"kernel_sizes=3 is a single number; give one for each level, for example \(3,\)"),
        ({"groups": 4}, "groups=4 is a single number"),
        ({"kernel_sizes": (3, True)}, "are not whole numbers"),
        ({"kernel_sizes": (3, 4)}, r"kernel 4 in kernel_sizes=\(3, 4\) is not odd"),
        ({"kernel_sizes": (3, -5)}, "kernel -5"),
        ({"groups": (1, 4)}, r"groups=\(1, 4\) has 2 entries for 4 levels"),
        ({"dilations": (1, 2)}, r"dilations=\(1, 2\) has 2 entries for 4 levels"),
        ({"dilations": (1, 2, 3, 0)}, r"dilations=\(1, 2, 3, 0\) are not all positive"),
        ({"dilations": (1, 2, 3, 0.5)}, "dilations=.* are not whole numbers"),
        ({"depthwise": 1}, "depthwise=1: expected True or False"),
        ({"depthwise": True, "groups": (1, 1, 1, 1)}, "of a depthwise pyramid, which has one group a channel"),
        ({"split": (0.5, 0.5)}, r"split=\(0.5, 0.5\) has 2 entries for 4 levels"),
    ],
)
def test_bad_specification(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pyramid(**arguments)


@pytest.mark.parametrize(
    ("pyramid", "message"),
    [
        (Pyramid(groups=(1, 4, 8, 5)), "groups=5 of the level with kernel"),
        (Pyramid(split=(16, 16, 16, 17)), "adds up to 65, not to the 64 output channels"),
        (Pyramid(split=(64, 0, 0, 0)), "give positive channel counts"),
        (Pyramid(split=(0.5, 0.5, 0.5, 0.5)), "adds up to 2, not to 1"),
        (Pyramid(((1, 3, 3),)), r"kernel \(1, 3, 3\) has 3 axes; expected 2"),
    ],
)
def test_specification_that_does_not_fit_the_layer(pyramid: Pyramid, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pyramid.levels(64, 64, dim=2)


@pytest.mark.parametrize(
    ("map_size", "dilations"), [((9, 9), (1, 2, 3, 4)), ((8, 8), (1, 2, 3)), ((64, 6), (1, 2)), ((4, 4), (1,))]
)
def test_dilated_levels_fit_the_map_as_kernels_of_their_reach_do(
    map_size: tuple[int, ...], dilations: tuple[int, ...]
) -> None:
    assert DILATED.fitted(map_size) == Pyramid((3,) * len(dilations), (1,) * len(dilations), dilations=dilations)


def test_reach_of_the_published_forms() -> None:
    assert DILATED.reaches == DEPTHWISE.reaches == Pyramid().reaches == (3, 5, 7, 9)
    assert DILATED.along((1, 3, 3)).reaches == ((1, 3, 3), (1, 5, 5), (1, 7, 7), (1, 9, 9))


def test_dilated_levels_are_dense_and_share_the_outputs() -> None:
    levels = DILATED.levels(10, 18, dim=3)
    assert [(level.groups, level.in_channels, level.out_channels) for level in levels] == [
        (1, 10, 5), (1, 10, 5), (1, 10, 4), (1, 10, 4)
    ]  # fmt: skip
    assert [level.dilation for level in levels] == [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)]
    assert [level.padding for level in levels] == [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)]


def test_a_kernel_of_1_is_not_dilated() -> None:
    levels = DILATED.along((1, 3, 3)).levels(8, 8, dim=3)
    assert [(level.kernel_size, level.dilation) for level in levels] == [((1, 3, 3), (1, d, d)) for d in (1, 2, 3, 4)]
    assert [level.padding for level in levels] == [(0, d, d) for d in (1, 2, 3, 4)]


def test_dilation_of_the_convolution_multiplies_that_of_the_levels() -> None:
    assert DILATED.along((3, 3), (2, 2)).dilations == ((2, 2), (4, 4), (6, 6), (8, 8))
    assert Pyramid((3, 5)).along((3, 1), (2, 2)).levels(4, 4, dim=2)[1].dilation == (2, 1)


@pytest.mark.parametrize(
    ("channels", "shares"), [(8, [2, 2, 2, 2]), (10, [3, 3, 2, 2]), (3, [1, 1, 1]), (13, [4, 3, 3, 3])]
)
def test_depthwise_levels_share_the_inputs(channels: int, shares: list[int]) -> None:
    levels = DEPTHWISE.levels(channels, channels, dim=2)
    assert [level.in_channels for level in levels] == shares
    assert [level.out_channels for level in levels] == shares
    assert [level.groups for level in levels] == shares
    assert [level.first_in_channel for level in levels] == [sum(shares[:z]) for z in range(len(shares))]


def test_depthwise_levels_need_no_channels_for_groups_in_3d() -> None:
    assert DEPTHWISE.fitted((99, 99, 99), channels=8) == DEPTHWISE


def test_no_channels() -> None:
    with pytest.raises(ValueError, match="in_channels=0"):
        Pyramid().levels(0, 8, dim=2)


def test_unknown_key() -> None:
    with pytest.raises(ValueError, match=r"unknown keys \['kernels'\]"):
        Pyramid.from_json({"kernels": [3, 5]})
