"""MobileNetV1 and V2: their rows, their widths, their options."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from scaling_search.base_networks.mobilenet_v2 import InvertedResidual
from tests.base_networks.families import family, only

ROWS = [
    (1, 32, 64),
    (2, 64, 128),
    (1, 128, 128),
    (2, 128, 256),
    (1, 256, 256),
    (2, 256, 512),
    *[(1, 512, 512)] * 5,
    (2, 512, 1024),
    (1, 1024, 1024),
]
"""Stride, input and output channels of every pair of convolutions.

Source: Howard et al. 2017, Table 1.
"""


def test_mobilenet_v1_has_the_rows_of_its_table() -> None:
    blocks = family("mobilenet_v1").build().blocks
    found = [
        (depthwise[0].stride[0], depthwise[0].in_channels, pointwise[0].out_channels)
        for depthwise, pointwise in blocks
    ]
    assert found == ROWS
    assert all(depthwise[0].groups == depthwise[0].in_channels for depthwise, _ in blocks)


def test_mobilenet_v1_is_convolution_norm_and_relu_in_a_row() -> None:
    torch.manual_seed(0)
    network = family("mobilenet_v1_small").build().double().eval()
    images = torch.randn(2, 3, 21, 21, dtype=torch.float64)
    features = images
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for convolution in convolutions:
        features = nn.functional.conv2d(
            features,
            convolution.weight,
            stride=convolution.stride,
            padding=convolution.weight.shape[-1] // 2,
            groups=features.shape[1] // convolution.weight.shape[1],
        )
        # A new norm divides by the root of one and its epsilon.
        features = (features / math.sqrt(1 + 1e-3)).clamp(min=0)
    logits = features.mean((2, 3)) @ network.classifier.weight.T
    with torch.inference_mode():
        assert torch.allclose(network(images), logits, rtol=1e-9)


def test_the_last_convolution_of_mobilenet_v2_is_never_narrowed() -> None:
    # Source: Sandler et al. 2018, Section 6.1.
    base = family("mobilenet_v2")
    widths = {m: base.scaled(only("width", m)).widths for m in (0.35, 0.75, 1.0, 1.4)}
    assert widths[0.35] == (16, 8, 8, 16, 24, 32, 56, 112, 1280)
    assert widths[0.75] == (24, 16, 24, 24, 48, 72, 120, 240, 1280)
    assert widths[1.0] == base.widths
    assert widths[1.4] == (48, 24, 32, 48, 88, 136, 224, 448, 1792)


def test_a_head_that_is_kept_makes_no_step() -> None:
    base = family("mobilenet_v2", widths=[8] * 8 + [1280])
    assert base.steps("width", 0.9, 1.0) == [0.9]


def test_inverted_residuals_add_their_input_where_shapes_allow() -> None:
    network = family("mobilenet_v2").build()
    blocks = [m for m in network.modules() if isinstance(m, InvertedResidual)]
    assert [b.is_residual for b in blocks] == [
        layer > 0 for num in (1, 2, 3, 4, 3, 3, 1) for layer in range(num)
    ]
    block = blocks[-2].eval()
    nn.init.zeros_(block.branch.get_parameter("2.1.weight"))
    features: Tensor = torch.randn(1, 160, 3, 3)
    with torch.inference_mode():
        assert torch.equal(block(features), features)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: family("mobilenet_v1", strides=[1, 2]), "strides must have one for each stage, 5"),
        (lambda: family("mobilenet_v1", widths=[8]), "widths must have the stem's and each"),
        (lambda: family("mobilenet_v2", widths=[8]), "widths must have the stem's, each stage's"),
        (lambda: family("mobilenet_v2", expand_ratio=[6]), "expand_ratio must have one for each"),
        (lambda: family("mobilenet_v2", strides=[6]), "strides must have one for each stage, 7"),
        (lambda: family("mobilenet_v1", dropout=1.0), "less than 1"),
        (lambda: family("mobilenet_v2", width_divisor=0), "greater than or equal to 1"),
        (lambda: family("mobilenet_v1", depth_rounding="floor"), "'ceil' or 'round'"),
    ],
)
def test_bad_options_name_the_rule(make: Callable[[], object], rule: str) -> None:
    with pytest.raises(Exception, match=rule):  # Hydra's own, which repeats ours
        make()
