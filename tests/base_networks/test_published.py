"""Networks as published: their counts, and what they compute."""

from typing import Any

import pytest
import torch
from torch import nn

from scaling_search.core.network import Architecture
from scaling_search.costs.flops import Flops
from tests.base_networks.families import drawn_state, family, num_flops, num_params

PUBLISHED: dict[str, tuple[str, dict[str, Any], int, int]] = {
    # Source: torchvision 0.29.2's builders, counted by fvcore; of MobileNetV1, which it has not,
    # Howard et al. 2017, Table 1, by hand: 4.2 M and 569 M in its Table 4.
    "mobilenet_v1": ("mobilenet_v1", {}, 4_231_976, 568_740_352),
    "mobilenet_v2": ("mobilenet_v2", {}, 3_504_872, 300_774_272),
    "resnet18": ("resnet", {"variant": 18}, 11_689_512, 1_814_073_344),
    "resnet34": ("resnet", {"variant": 34}, 21_797_672, 3_663_761_408),
    "resnet50": ("resnet", {"variant": 50}, 25_557_032, 4_089_184_256),
    "resnet101": ("resnet", {"variant": 101}, 44_549_160, 7_801_405_440),
    "convnext_tiny": ("convnext_tiny", {}, 28_589_128, 4_455_531_264),
    # Parameters: those of timm 1.0.31's builders; multiply-adds with attention's two products.
    "vit_ti": ("vit", {"variant": "ti"}, 5_717_416, 1_253_683_200),
    "vit_s": ("vit", {"variant": "s"}, 22_050_664, 4_598_882_304),
    "vit_b": ("vit", {"variant": "b"}, 86_567_656, 17_563_828_224),
}
"""YAML, options, parameters, and multiply-adds at 224 px, with 1000 classes."""


def published(name: str) -> Architecture:
    yaml, options, _, _ = PUBLISHED[name]
    architecture: Architecture = family(yaml, num_classes=1000, **options)
    return architecture


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_closed_form_has_the_published_counts(name: str) -> None:
    _, _, params, flops = PUBLISHED[name]
    assert published(name).resolution == 224
    assert num_params(published(name)) == params
    assert num_flops(published(name)) == flops


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_built_network_has_the_published_counts(name: str) -> None:
    _, _, params, flops = PUBLISHED[name]
    assert sum(p.numel() for p in published(name).build().parameters()) == params
    assert Flops().measure(published(name)) == flops


@pytest.mark.slow
@pytest.mark.parametrize(
    ("yaml", "options", "expected"),
    [
        ("mobilenet_v2", {}, [1.3199799393, -0.1241265776, 0.6959527242]),
        ("resnet", {"variant": 18}, [-0.8028844416, 0.5359115528, 0.9057716662]),
        ("resnet", {"variant": 34}, [-0.6213397129, 2.1457402588, 0.3610204384]),
        ("resnet", {"variant": 50}, [-1.1436238902, 0.1191246573, -1.7336478944]),
        ("resnet", {"variant": 101}, [0.1438619247, 0.4754188897, -0.6035317791]),
        ("convnext_tiny", {}, [1.5790851264, -0.3124852043, 1.2640275908]),
        ("vit", {"variant": "ti"}, [-1.5430710909, 0.0605708073, 0.1049265078]),
        ("vit", {"variant": "s"}, [0.5600841908, 0.4770088436, 0.5953411418]),
        ("vit", {"variant": "b"}, [-1.5248499625, -1.8636818243, -0.3270106101]),
    ],
)
def test_the_function_is_that_of_torchvision_or_timm(
    yaml: str, options: dict[str, Any], expected: list[float]
) -> None:
    # Source: torchvision 0.29.2's builders and, of vision transformers, timm 1.0.31's (64 px), with
    # the same weights, which their and our parameters have in the same order; the first logits
    # over the deviation of all. At 65 px every strided convolution has an odd input.
    network = family(yaml, resolution=65, num_classes=1000, **options).build().double().eval()
    network.load_state_dict(drawn_state(network))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5  # torch's own, which torchvision takes
    with torch.inference_mode():
        logits = network(torch.randn(1, 3, 65, 65, dtype=torch.float64))[0]
    assert (logits[:3] / logits.std()).tolist() == pytest.approx(expected, abs=1e-8)
