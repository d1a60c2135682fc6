"""EfficientNet against published numbers, another implementation, and its own rounding rules."""

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from efficientnet_pytorch import EfficientNet as OtherEfficientNet
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scaling_search.base_networks.blocks import StochasticDepth
from scaling_search.base_networks.efficientnets import (
    EfficientNet,
    Network,
    Stage,
    efficientnet,
    small_efficientnet,
)
from scaling_search.base_networks.mbconv import MBConv
from scaling_search.base_networks.rounding import DepthRounding
from scaling_search.core.network import Architecture
from scaling_search.core.scaling import DIMENSIONS, Multipliers
from scaling_search.costs.flops import Flops
from tests.base_networks.families import drawn_state

TESTS = Path(__file__).parents[1]
PACKAGE = Path(__file__).parents[2] / "scaling_search"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


FAMILY = rows(PACKAGE / "planning" / "reference" / "efficientnet_family.csv")
MEASURED_FAMILY = rows(TESTS / "reference" / "measured_family_macs.csv")
ROUNDING_EFFECTS = rows(TESTS / "reference" / "measured_rounding_effects.csv")

# As Hydra calls them: with names from a file, which no type checker has seen.
unchecked: Callable[..., EfficientNet] = efficientnet
unchecked_small: Callable[..., EfficientNet] = small_efficientnet

PARAMS = {
    "b0": 5_288_548,
    "b1": 7_794_184,
    "b2": 9_109_994,
    "b3": 12_233_232,
    "b4": 19_341_616,
    "b5": 30_389_784,
    "b6": 43_040_704,
    "b7": 66_347_960,
}
"""Source: torchvision 0.29.2 `efficientnet.py`, weights metadata; timm and pycls agree."""


def num_params(architecture: EfficientNet) -> int:
    return sum(layer.params for layer in architecture.layers())


def num_activations(architecture: EfficientNet) -> int:
    return sum(layer.activations for layer in architecture.layers())


def num_flops(architecture: EfficientNet) -> int:
    return sum(layer.flops for layer in architecture.layers())


def only(dimension: str, multiplier: float) -> Multipliers:
    return Multipliers(**(dict.fromkeys(DIMENSIONS, 1.0) | {dimension: multiplier}))


def shapes(architecture: EfficientNet) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in architecture.build().state_dict().items()}


@pytest.mark.parametrize("variant", PARAMS)
def test_variants_have_the_published_parameters_in_closed_form(variant: str) -> None:
    assert num_params(unchecked(variant)) == PARAMS[variant]


@pytest.mark.parametrize("variant", PARAMS)
def test_built_variants_have_the_published_parameters(variant: str) -> None:
    network = unchecked(variant).build()
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == PARAMS[variant]


@pytest.mark.parametrize("row", MEASURED_FAMILY, ids=lambda row: row["variant"])
def test_variants_have_the_measured_flops(row: dict[str, str]) -> None:
    # Source: fvcore on torchvision 0.29.2's builder, reference/measured_family_macs.csv.
    architecture = unchecked(row["variant"].lower())
    assert num_flops(architecture) == int(row["macs_conv_linear"])
    assert num_params(architecture) == int(row["params"])
    assert architecture.resolution == int(row["resolution"])
    b0 = efficientnet("b0")
    assert round(num_flops(architecture) / num_flops(b0), 3) == float(row["ratio_to_b0"])


@pytest.mark.parametrize("row", FAMILY, ids=lambda row: row["variant"])
def test_variants_are_b0_scaled_by_their_published_multipliers(row: dict[str, str]) -> None:
    # Source: tensorflow/tpu `efficientnet_builder.py`, in reference/efficientnet_family.csv.
    resolution = int(row["resolution"])
    multipliers = Multipliers(float(row["depth"]), float(row["width"]), resolution / 224)
    dropout = float(row["dropout"])
    scaled = efficientnet("b0", dropout=dropout).scaled(multipliers)
    assert scaled == unchecked(row["variant"].lower())


@pytest.mark.parametrize(
    "row", [r for r in FAMILY if r["activations_exact_pycls"]], ids=lambda row: row["variant"]
)
def test_variants_have_pycls_activations(row: dict[str, str]) -> None:
    # Source: facebookresearch/pycls `dev/model_complexity.json`, B0 to B5.
    assert num_activations(unchecked(row["variant"].lower())) == int(row["activations_exact_pycls"])


def test_b0_has_its_published_flops_and_activations() -> None:
    b0 = efficientnet("b0")
    assert num_flops(b0) == 385_814_752  # fvcore, conv + linear; 0.39 B in Tan & Le 2019, Table 2
    assert num_activations(b0) == 6_748_036  # pycls, and fvcore's ActivationCountAnalysis
    assert len(b0.layers()) == 1 + 4 + 15 * 5 + 2  # a stem, 16 blocks, a head, a classifier


@pytest.mark.parametrize(
    ("variant", "channels", "num_layers"),
    [  # Source: pycls configs EN-B3, EN-B4, EN-B5.
        ("b3", (40, 24, 32, 48, 96, 136, 232, 384, 1536), (2, 3, 3, 5, 5, 6, 2)),
        ("b4", (48, 24, 32, 56, 112, 160, 272, 448, 1792), (2, 4, 4, 6, 6, 8, 2)),
        ("b5", (48, 24, 40, 64, 128, 176, 304, 512, 2048), (3, 5, 5, 7, 7, 9, 3)),
    ],
)
def test_variants_have_pycls_channels_and_depths(
    variant: str, channels: tuple[int, ...], num_layers: tuple[int, ...]
) -> None:
    architecture = unchecked(variant)
    assert architecture.channels == channels
    assert architecture.num_layers == num_layers


@pytest.mark.parametrize(("in_channels", "squeezed"), [(16, 4), (6, 1), (7, 1), (3, 1), (12, 3)])
def test_squeezed_channels_are_a_quarter_of_the_blocks_input_cut(
    in_channels: int, squeezed: int
) -> None:
    # Source: tensorflow/tpu: max(1, int(input filters · 0.25)).
    assert small_efficientnet().squeezed(in_channels) == squeezed


def test_b1_has_the_published_depths() -> None:
    # Source: pycls config EN-B1.
    assert efficientnet("b1").num_layers == (2, 3, 3, 4, 4, 5, 2)


@pytest.mark.parametrize("row", ROUNDING_EFFECTS, ids=lambda row: row["case"].replace(" ", "_"))
def test_official_rounding_has_the_measured_effects(row: dict[str, str]) -> None:
    # Source: reference/measured_rounding_effects.csv.
    multipliers = Multipliers(
        float(row["depth"]), float(row["width"]), int(row["resolution"]) / 224
    )
    scaled = efficientnet("b0").scaled(multipliers)
    assert scaled.resolution == int(row["resolution"])
    assert "-".join(str(n) for n in scaled.num_layers) == row["stage_repeats"]
    assert num_params(scaled) == int(row["params"])
    assert num_flops(scaled) == int(row["macs_conv_linear"])
    assert round(num_flops(scaled) / 385_814_752, 3) == float(row["ratio_to_b0"])
    assert round(multipliers.nominal_flops_ratio, 3) == pytest.approx(
        float(row["nominal_d_w2_r2"]), abs=1.01e-3
    )


@pytest.mark.parametrize(
    ("dimension", "multiplier", "ratio"),
    [  # Source: docs/sources.md, rounding, measured with fvcore.
        ("width", 1.05, 1.086),
        ("width", 1.11, 1.206),
        ("width", 1.12, 1.394),
        ("width", 1.45, 2.001),
        ("resolution", 225 / 224, 1.165),
        ("resolution", 289 / 224, 1.860),
        ("resolution", 321 / 224, 2.268),
        ("depth", 1.3, 1.537),
        ("depth", 1.7, 1.967),
    ],
)
def test_one_dimension_alone_costs_the_measured_ratio(
    dimension: str, multiplier: float, ratio: float
) -> None:
    scaled = efficientnet("b0").scaled(only(dimension, multiplier))
    assert round(num_flops(scaled) / 385_814_752, 3) == ratio


def test_depth_of_b0_changes_at_the_published_multipliers() -> None:
    # Source: docs/sources.md, rounding. Each belongs to what lies below it, as in (1, 1.25].
    breakpoints = (1, 1.25, 4 / 3, 1.5, 5 / 3, 1.75, 2)
    b0 = efficientnet("b0")
    first_above = [math.floor(b * 1e6 + 1e-3) / 1e6 + 1e-6 for b in breakpoints]
    assert b0.steps("depth", 1.0, 2.1) == pytest.approx([1.0, *first_above], abs=1e-9)
    depths = [b0.scaled(only("depth", b)).num_layers for b in breakpoints]
    assert depths == [  # the table's rows
        (1, 2, 2, 3, 3, 4, 1),
        (2, 3, 3, 4, 4, 5, 2),
        (2, 3, 3, 4, 4, 6, 2),
        (2, 3, 3, 5, 5, 6, 2),
        (2, 4, 4, 5, 5, 7, 2),
        (2, 4, 4, 6, 6, 7, 2),
        (2, 4, 4, 6, 6, 8, 2),
    ]


def test_alpha_between_1_and_1_25_makes_no_difference() -> None:
    b0 = efficientnet("b0")
    assert b0.scaled(only("depth", 1.05)) == b0.scaled(only("depth", 1.25))
    assert hash(b0.scaled(only("depth", 1.05))) == hash(b0.scaled(only("depth", 1.25)))
    assert b0.scaled(only("depth", 1.25)) != b0.scaled(only("depth", 1.26))


def test_a_root_squared_adds_no_layer() -> None:
    b0 = efficientnet("b0")
    assert (2**0.5) ** 2 > 2
    assert b0.scaled(only("depth", (2**0.5) ** 2)) == b0.scaled(only("depth", 2.0))


def test_multipliers_of_one_give_the_same_architecture() -> None:
    for base in (efficientnet("b2", width_divisor=32), small_efficientnet(width_divisor=16)):
        assert base.scaled(Multipliers(1.0, 1.0, 1.0)) == base


def test_resolution_divisor_keeps_sizes_at_its_multiples() -> None:
    b0 = efficientnet("b0", resolution_divisor=32)
    sizes = [b0.scaled(only("resolution", 1 + i / 100)).resolution for i in range(101)]
    assert set(sizes) == set(range(224, 449, 32))


bases = st.builds(
    small_efficientnet,
    num_layers=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 7)),
    resolution=st.integers(12, 70),
    width_divisor=st.sampled_from([1, 2, 3, 4, 8, 16]),
    resolution_divisor=st.sampled_from([1, 2, 5, 8, 16, 32]),
    depth_rounding=st.sampled_from(["ceil", "round"]),
) | st.builds(
    lambda divisor, resolution_divisor, rounding: efficientnet(
        "b0",
        width_divisor=divisor,
        resolution_divisor=resolution_divisor,
        depth_rounding=rounding,
    ),
    st.sampled_from([4, 8, 12]),
    st.sampled_from([1, 16, 32]),
    st.sampled_from(["ceil", "round"]),
)
odd_bases = st.builds(
    lambda stages, **options: unchecked_small(
        **options,
        **dict(
            zip(
                ("num_layers", "kernel_size", "stride", "expand_ratio", "channels"),
                zip(*stages, strict=True),
                strict=True,
            )
        ),
        dropout=0.2,
        stochastic_depth=0.2,
    ),
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.sampled_from([1, 3, 5, 7]),
            st.integers(1, 3),
            st.sampled_from([1, 2, 6]),
            st.integers(1, 40),
        ),
        min_size=1,
        max_size=4,
    ),
    stem_channels=st.integers(1, 40),
    stem_stride=st.sampled_from([1, 2]),
    head_channels=st.integers(1, 100),
    resolution=st.integers(162, 200),
    in_channels=st.sampled_from([1, 3]),
    num_classes=st.sampled_from([1, 10, 100]),
    width_divisor=st.sampled_from([1, 2, 8]),
    resolution_divisor=st.sampled_from([1, 2, 16]),
    depth_rounding=st.sampled_from(["ceil", "round"]),
)
ranges = st.sampled_from([(1.0, 2.0), (0.4, 1.0), (0.5, 2.0), (1.1, 3.0)])


@settings(derandomize=True, deadline=None, max_examples=150)
@given(bases, st.sampled_from(DIMENSIONS), ranges, st.data())
def test_a_multiplier_gives_what_the_step_below_it_gives(
    base: EfficientNet, dimension: str, limits: tuple[float, float], data: st.DataObject
) -> None:
    steps = base.steps(dimension, *limits)
    # Multipliers of six decimals: anywhere, and beside a step, where an error would hide.
    ticks = st.integers(math.ceil(limits[0] * 1e6), math.floor(limits[1] * 1e6))
    beside = st.builds(
        lambda step, offset: round(step * 1e6) + offset,
        st.sampled_from(steps),
        st.integers(-3, 3),
    )
    for tick in data.draw(st.lists(ticks | beside, min_size=20, max_size=20)):
        multiplier = tick / 1e6
        if limits[0] <= multiplier <= limits[1]:
            below = max(step for step in steps if step <= multiplier)
            assert base.scaled(only(dimension, multiplier)) == base.scaled(only(dimension, below))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(bases, st.sampled_from(DIMENSIONS), ranges)
def test_consecutive_steps_give_other_networks_that_cost_no_less(
    base: EfficientNet, dimension: str, limits: tuple[float, float]
) -> None:
    steps = base.steps(dimension, *limits)
    scaled = [base.scaled(only(dimension, step)) for step in steps]
    assert steps == sorted(steps)
    assert len(set(scaled)) == len(scaled)
    costs = [num_flops(architecture) for architecture in scaled]
    assert costs == sorted(costs)
    for step, architecture in zip(steps, scaled, strict=True):
        before = round(step - 1e-6, 6)
        if before >= limits[0]:
            assert base.scaled(only(dimension, before)) != architecture


several = st.lists(st.floats(0.4, 3.0), min_size=1, max_size=4)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(bases | odd_bases, several, several, several)
def test_flops_of_many_are_the_sums_of_their_layers(
    base: EfficientNet, depths: list[float], widths: list[float], resolutions: list[float]
) -> None:
    alone = [
        [base.scaled(only(dimension, multiplier)) for multiplier in multipliers]
        for dimension, multipliers in zip(DIMENSIONS, (depths, widths, resolutions), strict=True)
    ]
    flops = base.flops_of(*alone)
    expected = [
        [[num_flops(base.scaled(Multipliers(d, w, r))) for r in resolutions] for w in widths]
        for d in depths
    ]
    assert flops.tolist() == expected


def test_flops_of_the_largest_networks_are_exact() -> None:
    b7 = efficientnet("b7")
    times = Multipliers(3.0, 3.0, 3.0)
    alone = [[b7.scaled(times.alone(dimension))] for dimension in DIMENSIONS]
    assert b7.flops_of(*alone).tolist() == [[[num_flops(b7.scaled(times))]]]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(bases, *(st.floats(0.4, 3.0) for _ in DIMENSIONS))
def test_scaling_never_goes_against_a_multiplier(
    base: EfficientNet, depth: float, width: float, resolution: float
) -> None:
    scaled = base.scaled(Multipliers(depth, width, resolution))
    pairs = [
        (depth, scaled.num_layers, base.num_layers),
        (width, scaled.channels, base.channels),
        (resolution, (scaled.resolution,), (base.resolution,)),
    ]
    for multiplier, sizes, base_sizes in pairs:
        for size, base_size in zip(sizes, base_sizes, strict=True):
            assert (size >= base_size) if multiplier >= 1 else (size <= base_size)


@pytest.mark.parametrize("base", [efficientnet("b0"), small_efficientnet()], ids=["b0", "proxy"])
def test_depth_adds_tensors_and_leaves_the_shapes(base: EfficientNet) -> None:
    deeper = base.scaled(only("depth", 2.0))
    assert deeper.num_layers == tuple(2 * n for n in base.num_layers)
    assert (deeper.channels, deeper.resolution) == (base.channels, base.resolution)
    assert len(shapes(deeper)) > len(shapes(base))
    expected = Counter(shapes(base).values())
    for stage in base.stages:  # as many repeated blocks again as there are blocks
        block = repeated_block(stage, base.squeezed(stage.channels))
        tensors = Counter(tuple(tensor.shape) for tensor in block.state_dict().values())
        expected += Counter({shape: n * stage.num_layers for shape, n in tensors.items()})
    assert Counter(shapes(deeper).values()) == expected
    assert num_params(deeper) > num_params(base)
    assert num_flops(deeper) > num_flops(base)


def repeated_block(stage: Stage, squeezed: int) -> MBConv:
    return MBConv(
        stage.channels,
        stage.channels,
        nn.BatchNorm2d,
        kernel_size=stage.kernel_size,
        stride=1,
        expand_ratio=stage.expand_ratio,
        squeezed=squeezed,
        drop_probability=0.0,
    )


@pytest.mark.parametrize("base", [efficientnet("b0"), small_efficientnet()], ids=["b0", "proxy"])
def test_width_enlarges_shapes_and_leaves_the_tensors(base: EfficientNet) -> None:
    wider = base.scaled(only("width", 2.0))
    assert wider.channels == tuple(2 * n for n in base.channels)
    assert (wider.num_layers, wider.resolution) == (base.num_layers, base.resolution)
    before, after = shapes(base), shapes(wider)
    assert list(before) == list(after)
    for name, shape in before.items():
        if name != "classifier.bias" and shape != ():  # the classes stay, a counter has no shape
            assert math.prod(after[name]) > math.prod(shape), name
    assert num_params(wider) > num_params(base)
    assert num_flops(wider) > num_flops(base)


@pytest.mark.parametrize("base", [efficientnet("b0"), small_efficientnet()], ids=["b0", "proxy"])
def test_resolution_leaves_every_shape_and_changes_the_flops(base: EfficientNet) -> None:
    larger = base.scaled(only("resolution", 1.5))
    assert larger.resolution == base.resolution * 3 // 2
    assert shapes(larger) == shapes(base)
    assert num_params(larger) == num_params(base)
    assert num_flops(larger) > num_flops(base)


@pytest.mark.parametrize("multipliers", [Multipliers(1.5, 1.3, 1.2), Multipliers(0.6, 0.7, 0.8)])
def test_built_networks_have_the_parameters_of_the_closed_form(multipliers: Multipliers) -> None:
    for base in (small_efficientnet(), efficientnet("b0", num_classes=10, in_channels=1)):
        scaled = base.scaled(multipliers)
        built = sum(p.numel() for p in scaled.build().parameters())
        assert built == num_params(scaled)


@pytest.mark.parametrize("variant", ["b0", "b2"])
def test_the_function_is_that_of_efficientnet_pytorch(variant: str) -> None:
    # Source: efficientnet-pytorch 0.7.1, a port of tensorflow/tpu that loads its weights. At
    # 225 px every strided convolution has an odd input, where TensorFlow's padding is symmetric.
    ours = unchecked(variant, resolution=225).build().double().eval()
    other = OtherEfficientNet.from_name(f"efficientnet-{variant}", image_size=None)
    other = other.double().eval()
    state = drawn_state(other)
    assert [t.shape for t in ours.state_dict().values()] == [t.shape for t in state.values()]
    other.load_state_dict(state)
    ours.load_state_dict(dict(zip(ours.state_dict(), state.values(), strict=True)))
    images = torch.randn(2, 3, 225, 225, dtype=torch.float64)
    with torch.inference_mode():
        expected, logits = other(images), ours(images)
    assert expected.std() > 1e-3  # the drawn weights leave a signal to compare
    assert (logits - expected).abs().max() / expected.abs().max() < 1e-5


def test_logits_see_every_image_alone_when_evaluating() -> None:
    network = small_efficientnet().build().eval()
    images = torch.randn(4, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_built_network_takes_any_resolution_of_at_least_a_pixel() -> None:
    network = efficientnet("b0", num_classes=10, resolution=32).build().eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
        assert network(torch.zeros(1, 3, 45, 45)).shape == (1, 10)


def test_stochastic_depth_drops_whole_images_at_its_rate() -> None:
    torch.manual_seed(0)
    probability, num_images = 0.3, 20_000
    drop = StochasticDepth(probability).train()
    dropped = drop(torch.ones(num_images, 3, 2, 2))
    per_image = dropped.flatten(1)
    assert (per_image == per_image[:, :1]).all()
    values = sorted(set(per_image[:, 0].tolist()))
    assert values == pytest.approx([0, 1 / (1 - probability)])  # the mean stays 1
    rate = (per_image[:, 0] == 0).float().mean().item()
    # Five standard deviations of a binomial share.
    assert abs(rate - probability) < 5 * math.sqrt(probability * (1 - probability) / num_images)


def test_a_dropped_branch_leaves_the_image_as_it_was() -> None:
    torch.manual_seed(0)
    stage = Stage(num_layers=1, kernel_size=3, stride=1, expand_ratio=4, channels=6)
    block = repeated_block(stage, 1).train()
    block.drop.probability = 0.5
    images = torch.randn(400, 6, 4, 4)
    with torch.no_grad():
        unchanged = (block(images) == images).flatten(1)
    assert (unchanged.all(1) | ~unchanged.any(1)).all()
    assert 0.3 < unchanged.all(1).float().mean().item() < 0.7  # 0.5, and 8 standard deviations


def test_stochastic_depth_does_nothing_when_evaluating() -> None:
    features = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(StochasticDepth(0.9).eval()(features), features)
    assert torch.equal(StochasticDepth(0.0).train()(features), features)


def test_drop_rate_rises_linearly_with_the_block() -> None:
    # Source: tensorflow/tpu: 0.2 · i / n for block i of n, counted from 0.
    drops = [m.probability for m in _drops(efficientnet("b0").build())]
    assert drops == pytest.approx([0.2 * i / 16 for i in range(16)])


def _drops(network: nn.Module) -> Iterator[StochasticDepth]:
    return (module for module in network.modules() if isinstance(module, StochasticDepth))


@pytest.mark.parametrize(
    "architecture",
    [small_efficientnet(), efficientnet("b0", resolution=64, num_classes=10)],
    ids=["proxy", "b0"],
)
def test_training_reaches_every_parameter_with_finite_logits(architecture: EfficientNet) -> None:
    torch.manual_seed(0)
    network = architecture.build().train()
    size = architecture.resolution
    logits = network(torch.randn(16, architecture.in_channels, size, size))
    assert logits.shape == (16, 10)
    assert logits.isfinite().all()
    nn.functional.cross_entropy(logits, torch.arange(16) % 10).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_norms_have_the_official_momentum_and_epsilon() -> None:
    # Source: tensorflow/tpu, momentum 0.99 (0.01 in PyTorch's sense), epsilon 1e-3.
    norms = [m for m in efficientnet("b0").build().modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.01, 1e-3)}


def test_initial_weights_spread_by_fan_out() -> None:
    # Source: tensorflow/tpu `conv_kernel_initializer`, `dense_kernel_initializer`.
    torch.manual_seed(0)
    network = efficientnet("b0").build()
    assert isinstance(network, Network)
    weight = network.head.get_parameter("0.weight")
    # Standard deviation of 409,600 draws: known to a thousandth.
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 1280), rel=5e-3)
    assert network.classifier.weight.abs().max().item() <= 1 / math.sqrt(1000)
    assert not network.classifier.bias.any()


def test_the_seed_decides_the_initial_weights() -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return list(small_efficientnet().build().parameters())

    assert all(torch.equal(a, b) for a, b in zip(weights(0), weights(0), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(0), weights(1), strict=True))


def test_only_building_draws_random_numbers() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    architecture = small_efficientnet().scaled(Multipliers(1.5, 1.5, 1.2))
    architecture.layers()
    architecture.steps("width", 1.0, 2.0)
    Flops().measure(architecture)
    assert torch.equal(torch.get_rng_state(), before)
    architecture.build()
    assert not torch.equal(torch.get_rng_state(), before)


def test_efficientnets_are_architectures() -> None:
    assert isinstance(efficientnet("b0"), Architecture)
    assert isinstance(small_efficientnet(), Architecture)


def test_options_change_what_they_say() -> None:
    changed = efficientnet(
        "b2",
        resolution=64,
        in_channels=1,
        num_classes=10,
        stem_stride=1,
        dropout=0.1,
        depth_rounding="round",
    )
    official = efficientnet("b2")
    assert (changed.resolution, changed.in_channels, changed.num_classes) == (64, 1, 10)
    assert (changed.stem_stride, changed.dropout) == (1, 0.1)
    # The rounding is of what is scaled from it.
    assert (changed.num_layers, changed.channels) == (official.num_layers, official.channels)
    assert changed.scaled(only("depth", 1.1)).num_layers == (2, 3, 3, 4, 4, 6, 2)
    assert official.scaled(only("depth", 1.1)).num_layers == (3, 4, 4, 5, 5, 6, 3)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: efficientnet("b0", resolution=31), "at least the product of the strides, 32"),
        (lambda: small_efficientnet(resolution=3), "at least the product of the strides, 4"),
        (lambda: unchecked("b8"), "'b0', 'b1', 'b2', 'b3', 'b4', 'b5', 'b6' or 'b7'"),
        (
            lambda: small_efficientnet(num_layers=(2, 3)),
            "kernel_size must have one for each stage, 2",
        ),
        (lambda: small_efficientnet(dropout=1.0), "less than 1"),
        (lambda: small_efficientnet(width_divisor=0), "greater than or equal to 1"),
        (lambda: unchecked("b0", num_classes=10.0), "valid integer"),
        (lambda: efficientnet("b0", stochastic_depth=math.nan), "finite number"),
        (lambda: unchecked("b0", widht_divisor=8), "widht_divisor"),
    ],
)
def test_bad_options_name_the_rule(make: Callable[[], EfficientNet], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        make()


def test_an_unknown_depth_rounding_names_the_known_ones() -> None:
    floor: DepthRounding = "floor"  # type: ignore[assignment]  # the error under test
    with pytest.raises(ValueError, match="'ceil' or 'round'"):
        small_efficientnet(depth_rounding=floor)
