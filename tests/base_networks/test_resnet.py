"""ResNets: where their strides and projections are, their stems, their options."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from scaling_search.base_networks.resnets import Network, Residual
from tests.base_networks.families import family, num_flops, only


def blocks(network: nn.Module) -> list[Residual]:
    return [module for module in network.modules() if isinstance(module, Residual)]


def test_a_bottleneck_strides_in_its_3x3_convolution() -> None:
    # Source: Goyal et al. 2017, Section 5.1; the other placement gives 3.86 G.
    branches = [block.branch for block in blocks(family("resnet").build())]
    convolutions = [
        [m for m in branch.modules() if isinstance(m, nn.Conv2d)] for branch in branches
    ]
    kernel_sizes = [[m.kernel_size[0] for m in branch] for branch in convolutions]
    assert kernel_sizes == [[1, 3, 1]] * 16
    halving = [[1, 2, 1], [1, 1, 1]]
    strides = [[m.stride[0] for m in branch] for branch in convolutions]
    assert strides == [halving[i not in {3, 7, 13}] for i in range(16)]


@pytest.mark.parametrize(
    ("variant", "projects"), [(18, [0, 1, 1, 1]), (50, [1, 1, 1, 1]), (101, [1, 1, 1, 1])]
)
def test_shortcuts_project_where_shapes_change(variant: int, projects: list[int]) -> None:
    # Source: He et al. 2016, Section 4.1, option B.
    architecture = family("resnet", variant=variant)
    found = [isinstance(b.shortcut, nn.Sequential) for b in blocks(architecture.build())]
    expected = [
        bool(first) and layer == 0
        for first, num in zip(projects, architecture.num_layers, strict=True)
        for layer in range(num)
    ]
    assert found == expected


def test_no_projection_vanishes_where_widths_round_to_the_same() -> None:
    base = family("resnet_small", widths=[6, 7, 8], width_divisor=8)
    wider = base.scaled(only("width", 1.1))
    assert wider.widths == (8, 8, 8)
    assert num_flops(wider) > num_flops(base)
    found = [isinstance(b.shortcut, nn.Sequential) for b in blocks(wider.build())]
    assert found == [False, False, True, False, False, True, False, False, False]


def test_widths_are_of_the_3x3_convolutions_and_channels_of_what_leaves() -> None:
    base = family("resnet")
    assert base.widths == (64, 128, 256, 512)
    assert base.channels == (64, 256, 512, 1024, 2048)
    # Source: 1.1 times 64, 128, 256, 512, to the nearest multiple of 8, by hand.
    wider = base.scaled(only("width", 1.1))
    assert wider.widths == (72, 144, 280, 560)
    assert wider.channels == (72, 288, 576, 1120, 2240)


def test_a_small_stem_keeps_every_pixel() -> None:
    small = family("resnet_small").build().eval()
    large = family("resnet_small", stem="7x7").build().eval()
    images = torch.randn(1, 3, 20, 20)
    with torch.inference_mode():
        assert small.stem(images).shape[2:] == (20, 20)
        assert large.stem(images).shape[2:] == (5, 5)


def test_initial_weights_spread_by_fan_out_and_the_classifiers_by_a_hundredth() -> None:
    # Source: He et al. 2015, Eq. 14; Goyal et al. 2017, Section 5.1.
    torch.manual_seed(0)
    network = family("resnet", num_classes=1000).build()
    assert isinstance(network, Network)
    weight = blocks(network)[-1].branch[1].get_parameter("0.weight")
    # Deviations of over two million draws: known to a thousandth.
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 512)), rel=5e-3)
    assert network.classifier.weight.std().item() == pytest.approx(0.01, rel=5e-3)
    assert not network.classifier.bias.any()


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: family("resnet", variant=19), "18, 34, 50 or 101"),
        (lambda: family("resnet_small", widths=[8]), "widths must have one for each stage, 3"),
        (lambda: family("resnet_small", block="wide"), "'basic' or 'bottleneck'"),
        (lambda: family("resnet_small", stem="5x5"), "'7x7' or '3x3'"),
        (lambda: family("resnet", num_classes=0), "greater than or equal to 1"),
    ],
)
def test_bad_options_name_the_rule(make: Callable[[], object], rule: str) -> None:
    with pytest.raises(Exception, match=rule):  # Hydra's own, which repeats ours
        make()
