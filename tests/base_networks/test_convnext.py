"""ConvNeXt: what fits without a convolution's batch norm."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from scaling_search.base_networks.convnext import Block
from tests.base_networks.families import family


def blocks(network: nn.Module) -> list[Block]:
    return [module for module in network.modules() if isinstance(module, Block)]


def test_every_norm_is_a_layer_norm_and_every_kernel_large() -> None:
    network = family("convnext_tiny").build()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert {block.depthwise.kernel_size for block in blocks(network)} == {(7, 7)}
    assert all(m.eps == 1e-6 for m in network.modules() if isinstance(m, nn.LayerNorm))


def test_branches_begin_with_the_scale_and_are_skipped_more_often_the_later() -> None:
    # Source: Liu et al. 2022, Appendix A.1: 1e-6, and 0.1 for the last block of tiny.
    found = blocks(family("convnext_tiny").build())
    assert all(torch.equal(b.scale, torch.full_like(b.scale, 1e-6)) for b in found)
    assert [b.drop.probability for b in found] == pytest.approx([0.1 * i / 17 for i in range(18)])


def test_one_block_alone_is_never_skipped() -> None:
    (block,) = blocks(family("convnext_tiny", num_layers=[1], widths=[8]).build())
    assert block.drop.probability == 0


def test_initial_weights_are_cut_normals_of_deviation_0_02() -> None:
    # Source: Liu et al. 2022, Appendix A.1.
    torch.manual_seed(0)
    network = family("convnext_tiny").build()
    weight = blocks(network)[-1].expand.weight
    assert weight.std().item() == pytest.approx(0.02, rel=5e-3)  # of over two million draws
    assert weight.abs().max().item() < 0.12
    assert not any(b.expand.bias.any() for b in blocks(network))


def test_pixels_beside_the_last_patch_are_not_seen() -> None:
    network = family("convnext_small", resolution=21).build().eval()
    images = torch.randn(1, 3, 21, 21)
    with torch.inference_mode():
        assert torch.equal(network(images), network(images[..., :20, :20]))


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: family("convnext_tiny", resolution=31), "product of the strides, 32, got 31"),
        (lambda: family("convnext_tiny", widths=[8]), "widths must have one for each stage, 4"),
        (lambda: family("convnext_small", layer_scale=0.0), "greater than 0"),
        (lambda: family("convnext_small", stochastic_depth=1.0), "less than 1"),
    ],
)
def test_bad_options_name_the_rule(make: Callable[[], object], rule: str) -> None:
    with pytest.raises(Exception, match=rule):  # Hydra's own, which repeats ours
        make()
