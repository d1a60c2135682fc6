"""Vision transformers: three counts of attention, heads, positions, and what they learn."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scaling_search.base_networks import VisionTransformer
from scaling_search.base_networks.vision_transformers import Attention, Block
from scaling_search.core.network import training_flops
from scaling_search.core.scaling import Multipliers
from scaling_search.core.trial import Trial
from scaling_search.costs.activations import Activations
from scaling_search.costs.flops import Flops
from scaling_search.costs.params import Params
from scaling_search.costs.train_flops import TrainFlops
from scaling_search.datasets import FashionMnistSmall
from scaling_search.training.engine import train_trial
from tests.base_networks.families import family, num_flops, written_out
from tests.tiny import tiny_trial

SCALINGS = [
    Multipliers(1.0, 1.0, 1.0),
    Multipliers(1.4, 1.0, 1.0),
    Multipliers(1.0, 1.3, 1.0),
    Multipliers(1.0, 1.0, 1.3),
    Multipliers(1.2, 1.1, 1.15),
    Multipliers(0.7, 0.8, 0.6),
]


def trial_of(architecture: VisionTransformer, **recipe: Any) -> Trial:
    """A training of a network by the tiny recipe, on a hundred images."""
    trial = tiny_trial(**recipe)
    return replace(trial, candidate=replace(trial.candidate, architecture=architecture))


@pytest.mark.parametrize("multipliers", SCALINGS, ids=str)
def test_four_counts_of_the_multiply_adds_are_equal(
    multipliers: Multipliers, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = family("vit_small").scaled(multipliers)
    expected = num_flops(architecture)
    assert Flops().measure(architecture) == expected
    network, size = architecture.build().eval(), architecture.resolution
    images = torch.zeros(1, 3, size, size)
    # Torch has no formula for the fused kernel of a CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(images)
    assert counter.get_total_flops() == 2 * expected
    monkeypatch.setattr(functional, "scaled_dot_product_attention", written_out)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer's
        counts = FlopCountAnalysis(network, images).by_operator()
    assert counts["conv"] + counts["linear"] + counts["matmul"] == expected


@pytest.mark.parametrize("cost", [Activations(), TrainFlops(), Params()], ids=str)
@pytest.mark.parametrize("multipliers", SCALINGS, ids=str)
def test_other_counted_costs_are_those_of_the_built_network(
    cost: Activations | TrainFlops | Params, multipliers: Multipliers
) -> None:
    cost.measure(family("vit_small").scaled(multipliers))  # fails where the two differ


def test_a_step_costs_three_times_an_image_but_for_the_gradient_of_the_image() -> None:
    layers = family("vit_small").layers()
    assert training_flops(layers) == 3 * sum(layer.flops for layer in layers) - layers[0].flops


@pytest.mark.parametrize(("variant", "heads"), [("ti", 3), ("s", 6), ("b", 12)])
def test_published_heads_have_64_channels(variant: str, heads: int) -> None:
    # Source: Touvron et al. 2021, Table 1.
    network = family("vit", variant=variant).build()
    shapes = {module.shape for module in network.modules() if isinstance(module, Attention)}
    assert shapes == {(3, heads, 64)}
    assert all(m.eps == 1e-6 for m in network.modules() if isinstance(m, nn.LayerNorm))


@pytest.mark.parametrize(("width", "heads"), [(4, 1), (23, 1), (24, 2), (39, 2), (40, 3), (64, 4)])
def test_heads_keep_their_size_and_follow_the_width(width: int, heads: int) -> None:
    assert family("vit_small", widths=[width]).num_heads == heads


def test_every_network_has_a_position_for_each_of_its_tokens() -> None:
    base = family("vit_small")
    for multiplier in (0.5, 1.0, 1.3, 1.4):
        scaled = base.scaled(Multipliers(1.0, 1.0, multiplier))
        places = scaled.build().places
        assert places.shape == (1, (scaled.resolution // 2) ** 2 + 1, 32)
        assert places.std().item() == pytest.approx(0.02, rel=0.1)


def test_pixels_beside_the_last_patch_are_not_seen() -> None:
    network = family("vit_small", resolution=21).build().eval()
    images = torch.randn(1, 3, 21, 21)
    with torch.inference_mode():
        assert torch.equal(network(images), network(images[..., :20, :20]))


def test_weights_begin_with_the_deviation_of_their_fans() -> None:
    torch.manual_seed(0)
    block = family("vit").build().blocks[0]
    layers = [module for module in block.modules() if isinstance(module, nn.Linear)]
    # Glorot and Bengio 2010, Eq. 16, of queries, keys and values each.
    fans = [192 + 192, 192 + 192, 192 + 768, 768 + 192]
    assert [layer.weight.std().item() for layer in layers] == pytest.approx(
        [(2 / fan) ** 0.5 for fan in fans], rel=0.01
    )
    assert not any(layer.bias.any() for layer in layers)


def test_later_blocks_are_skipped_more_often_and_whole_images_at_a_time() -> None:
    torch.manual_seed(0)
    network = family("vit_small", num_layers=[3], stochastic_depth=0.5).build().train()
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    assert [block.drop.probability for block in blocks] == [0, 0.25, 0.5]
    kept = blocks[2].drop(torch.ones(400, 5, 4))
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert all(len(image.unique()) == 1 for image in kept)


def test_a_training_repeats_to_the_bit() -> None:
    small = VisionTransformer(num_layers=(3,), widths=(24,), head_size=8, patch_size=4)
    one, again = (train_trial(trial_of(small), "cpu") for _ in range(2))
    assert one.state == "COMPLETE", one.traceback
    assert one.curve == again.curve


@pytest.mark.slow
def test_a_short_training_learns() -> None:
    trial = trial_of(family("vit_small", in_channels=1), epochs=3, batch_size=50)
    result = train_trial(replace(trial, dataset=FashionMnistSmall(num_train=2000)), "cpu")
    assert result.state == "COMPLETE", result.traceback
    # A tenth would be chance.
    assert result.curve[-1].val_accuracy > 0.4


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: family("vit_small", resolution=1), "at least the product of the strides, 2"),
        (lambda: family("vit_small", num_layers=[3, 4]), "num_layers"),
        (lambda: family("vit_small", head_size=0), "head_size"),
        (lambda: family("vit", variant="l"), "variant"),
    ],
)
def test_bad_options_name_the_rule(make: Callable[[], object], rule: str) -> None:
    with pytest.raises(Exception, match=rule):  # Hydra's own, which repeats ours
        make()
