"""Networks of the user's own: how they are counted, told apart, and refused."""

import itertools
import math
import pickle
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from scaling_search.base_networks.custom_network import custom
from scaling_search.candidates import Buildable
from scaling_search.commands.plan import plan
from scaling_search.commands.search import search
from scaling_search.core.scaling import DIMENSIONS, Multipliers
from scaling_search.costs.activations import Activations
from scaling_search.costs.flops import Flops
from scaling_search.costs.memory import Memory
from scaling_search.costs.params import Params
from scaling_search.planning.budget import Budget
from scaling_search.planning.measuring import measure
from tests.base_networks import own
from tests.base_networks.families import num_flops, num_params, only
from tests.in_process import printed
from tests.tiny import tiny_run

BLOCKS, CHANNELS = (2, 3, 4), (6, 10, 16)
"""Of `own.build`."""


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def called(depth: float, width: float) -> nn.Module:
    return own.build(depth=depth, width=width, resolution=1.0, num_classes=10, in_channels=1)


# What a network is.


def test_the_function_gets_the_multipliers_and_its_own_options() -> None:
    base = custom(partial(own.build, blocks=[1, 1, 1]), in_channels=3, num_classes=7)
    scaled = base.scaled(Multipliers(3.0, 2.0, 1.2))
    assert scaled.resolution == 24
    network = scaled.build()
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [12] * 3 + [20] * 3 + [32] * 3
    assert convolutions[0].in_channels == 3
    assert network(torch.zeros(2, 3, 24, 24)).shape == (2, 7)
    # On the grid of 1.05: the smallest place that makes three blocks of one, and 2 rounded down.
    assert (scaled.depth, scaled.width) == (19, 14)
    assert base != custom(own.build, in_channels=3, num_classes=7)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.floats(0.6, 3.0), st.floats(0.6, 2.0), st.sampled_from([0.02, 0.05, 0.3]))
def test_a_multiplier_is_rounded_down_to_the_grid(depth: float, width: float, step: float) -> None:
    def on_grid(multiplier: float) -> float:
        places = range(math.floor(math.log(0.5) / math.log1p(step)), 100)
        grid = [round((1 + step) ** place, 6) for place in places]
        return max(m for m in grid if m <= round(multiplier, 6))

    scaled = custom(own.build, step=step).scaled(Multipliers(depth, width, 1.0))
    assert shapes(scaled.build()) == shapes(called(on_grid(depth), on_grid(width)))


def test_networks_are_equal_when_their_shapes_and_resolution_are() -> None:
    base = custom(own.build)
    # Two, three and four blocks times 1.1 round to the same, times 1.28 and 1.35 to 3, 4, 5.
    assert base.scaled(Multipliers(1.1, 1.0, 1.0)) == base
    assert base.scaled(Multipliers(1.0, 1.04, 1.01)) == base
    deeper, again = (base.scaled(Multipliers(depth, 1.0, 1.0)) for depth in (1.28, 1.35))
    assert base != deeper == again
    assert len({deeper, again}) == 1
    assert pickle.loads(pickle.dumps(deeper)) == deeper


def test_a_name_says_the_sizes_and_tells_networks_apart() -> None:
    base = custom(own.build)
    assert base.name.startswith("10/6-10-16/20/")  # nine convolutions and a linear layer
    times = [Multipliers(d, w, r) for d in (1, 1.5, 2) for w in (1, 1.5) for r in (1, 1.2)]
    assert len({base.scaled(m).name for m in times}) == len(times)
    # Shapes decide, also where numbers of weights and channels are the same.
    assert custom(own.build).name != custom(partial(own.build, blocks=[3, 3, 3])).name


@pytest.mark.slow
def test_a_plan_has_every_network_of_the_grid_in_the_band() -> None:
    """Compared with all combinations of grid and pixels, counted in closed form."""
    base = custom(own.build)
    plan = Buildable(max_networks=500).plan(Budget(base, Flops()))
    grid = [round(1.05**place, 6) for place in range(23)]  # up to 3
    costs = {}
    for depth, width, pixels in itertools.product(grid, grid, range(20, 29, 2)):
        layers = tuple(round(n * depth) for n in BLOCKS)
        channels = tuple(round(c * width) for c in CHANNELS)
        if width <= 2:
            costs[layers, channels, pixels] = closed_form(layers, channels, pixels)
    in_band = {k: c for k, c in costs.items() if abs(c / plan.base.flops / 2 - 1) <= 0.05}
    assert plan.base.flops == closed_form(BLOCKS, CHANNELS, 20)
    assert sorted(c.flops for c in plan.candidates) == sorted(in_band.values())
    assert len({c.network for c in plan.candidates}) == len(in_band) > 10
    measure(plan, Flops())


def closed_form(layers: tuple[int, ...], channels: tuple[int, ...], pixels: int) -> int:
    """Multiply-adds of what `own.build` makes."""
    flops, before, size = 0, 1, pixels
    for stage, (num, out) in enumerate(zip(layers, channels, strict=True)):
        size = -(-size // 2) if stage else size
        flops += 9 * size**2 * (before * out + (num - 1) * out**2)
        before = out
    return flops + before * 10


# How it is counted.


class Mixed(nn.Module):
    """Convolves by hand, attends, calls one module twice, and has what does not train."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, 1, 3, 3))
        self.blocks = nn.ModuleList([nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)])
        self.again = self.blocks[0]
        self.scale = nn.Parameter(torch.ones(channels))
        self.frozen = nn.Linear(channels, channels).requires_grad_(requires_grad=False)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = functional.conv2d(images, self.weight, padding=1)
        for block in self.blocks:
            features = block(features)
        rows = self.again(features).flatten(2)
        rows = rows @ (rows.transpose(1, 2) @ rows).softmax(-1)
        return self.head(self.frozen(rows.mean(2) * self.scale))  # type: ignore[no-any-return]  # Module.__call__ is untyped


def mixed(*, width: float, num_classes: int, **_: object) -> nn.Module:
    return Mixed(round(4 * width), num_classes)


def test_each_module_that_computes_is_a_layer_and_all_is_counted_once() -> None:
    architecture = custom(mixed, resolution=6)
    layers = {layer.name: layer for layer in architecture.layers()}
    size = 36
    assert list(layers) == ["network", "blocks.0", "frozen", "head"]
    products = 2 * size * 4 * size
    assert layers["network"].flops == 9 * 4 * size + products
    assert layers["network"].activations == 4 * size + size * size + 4 * size
    assert layers["network"].params == 9 * 4 + 4  # its weight, its scale
    assert layers["blocks.0"].flops == 2 * 16 * size
    assert layers["blocks.0"].params == 16 + 4 + 2 * 4  # the norm behind it too
    assert (layers["frozen"].flops, layers["frozen"].params) == (16, 0)
    assert (layers["head"].flops, layers["head"].params) == (40, 50)
    for cost in (Flops(), Params(), Activations()):
        assert cost.measure(architecture) == cost.estimate(architecture)


def looks(*, depth: float, width: float, num_classes: int, in_channels: int, **_: object) -> Any:
    """Looks at values while it is made, as on a device without them it cannot."""
    rates = [float(rate) for rate in torch.linspace(0, 0.5, round(4 * depth))]
    convolutions = [nn.Conv2d(in_channels, round(8 * width), 1)]
    convolutions += [nn.Conv2d(round(8 * width), round(8 * width), 1) for _ in rates]
    dropped = [nn.Dropout(rate) for rate in rates]
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(round(8 * width), num_classes)]
    return nn.Sequential(*convolutions, *dropped, *end)


def test_a_network_that_needs_memory_to_be_made_is_counted_too() -> None:
    base = custom(looks)
    assert base.steps("depth", 1.0, 2.0)[1:] == [1.157625, 1.407100, 1.628895, 1.885649]
    assert num_flops(base) == (8 + 4 * 64) * 400 + 80


def test_counting_leaves_every_random_state_alone() -> None:
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002 - the global one is the point
    base = custom(looks, resolution=18)
    base.steps("width", 1.0, 2.0)
    assert base.scaled(only("depth", 2.0)).name
    after = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002 - as above
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_smaller_networks_are_walked_too() -> None:
    base = custom(own.build)
    for dimension in DIMENSIONS:
        steps = base.steps(dimension, 0.5, 1.0)
        scaled = [base.scaled(only(dimension, step)) for step in steps]
        assert steps[0] == 0.5
        assert scaled[-1] == base
        params = [num_params(architecture) for architecture in scaled]
        assert params == sorted(params)


# What is refused.


def simple(channels: int, num_classes: int, **conv: Any) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, channels, 1, **conv),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, num_classes),
    )


def no_network(**_: object) -> object:
    return {"a": "network"}


def raises(**_: object) -> nn.Module:
    raise KeyError("no such block")


def wants_more(*, depth: float) -> nn.Module:
    return simple(round(depth), 10)


def five_classes(**_: object) -> nn.Module:
    return simple(8, 5)


class Many(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = simple(8, 10)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": self.network(images)}


def many(**_: object) -> nn.Module:
    return Many()


def pools(**_: object) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d((1, 10)), nn.Flatten())


def sized(**_: object) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(100, 10))


def lazy(**_: object) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def draws_sizes(**_: object) -> nn.Module:
    return simple(int(torch.randint(4, 4000, ()).item()), 10)


def draws_from_python(**_: object) -> nn.Module:
    return simple(8 + random.randrange(2), 10)


def draws_from_numpy(**_: object) -> nn.Module:
    return simple(8 + int(np.random.rand() > 0.5), 10)  # noqa: NPY002 - the global one is the point


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (no_network, "must return a torch.nn.Module, got dict from tests.base_networks"),
        (raises, "must make a network, got KeyError ('no such block') at test_custom.py:"),
        (wants_more, "got TypeError (wants_more() got an unexpected keyword argument 'width')"),
        (five_classes, "gives logits (1, 10) for an image, got (1, 5)"),
        (many, "gives logits (1, 10) for an image, got dict"),
        (pools, "with convolutions or linear layers, got none"),
        (sized, "images (1, 1, 20, 20) and can be traced, got RuntimeError (mat1 and mat2"),
        (lazy, "must have parameters of known shapes, got"),
        (draws_sizes, "must make the same network from the same arguments"),
        (draws_from_python, "torch's generator alone, got draws from Python's"),
        (draws_from_numpy, "torch's generator alone, got draws from NumPy's"),
    ],
)
def test_a_function_that_makes_no_such_network_is_refused(
    function: Callable[..., object], said: str
) -> None:
    before = torch.get_rng_state(), random.getstate()
    with pytest.raises(ValueError, match=r"^base_network\.network must ") as refused:
        custom(function).layers()
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def distances(**_: object) -> nn.Module:
    return nn.Sequential(simple(8, 10), Distances())


class Distances(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return torch.cdist(logits, torch.eye(10))


def test_an_operator_that_is_not_counted_is_refused_by_its_name_and_place() -> None:
    rule = r"^base_network must use operators .* got aten::cdist in module '1'; give the count of "
    with pytest.raises(ValueError, match=rule):
        custom(distances).layers()


# What fails while it is trained, before anything is.


class Auxiliary(nn.Module):
    """Gives a second tensor of logits while it is trained."""

    def __init__(self, depth: float, width: float, num_classes: int) -> None:
        super().__init__()
        channels, layers = 4 * round(2 * width), round(3 * depth)
        blocks = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(layers)]
        self.trunk = nn.Sequential(nn.Conv2d(1, channels, 3, 2), *blocks)
        self.head = nn.Linear(channels, num_classes)
        self.auxiliary = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features = self.trunk(images).mean((2, 3))
        logits: Tensor = self.head(features)
        return (logits, self.auxiliary(features)) if self.training else logits


def auxiliary(*, depth: float, width: float, num_classes: int, **_: object) -> nn.Module:
    return Auxiliary(depth, width, num_classes)


class WhileTraining(nn.Module):
    """Does something to features while it is trained."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, features: Tensor) -> Tensor:
        return self.change(features) if self.training else features


def changing(change: Callable[[Tensor], Tensor]) -> Callable[..., nn.Module]:
    """What makes a network whose logits are changed while it is trained."""

    def build(**_: object) -> nn.Module:
        return nn.Sequential(simple(8, 10), WhileTraining(change))

    return build


flattened = changing(torch.Tensor.flatten)
overwritten = changing(lambda logits: logits.sigmoid().relu_().sigmoid() * logits.exp_())
lucky = changing(lambda logits: logits * random.random())
stopped = changing(lambda logits: logits.detach())
for name in ("flattened", "overwritten", "lucky", "stopped"):
    globals()[name].__qualname__ = name


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (auxiliary, "gives logits (2, 10) for 2 images in training mode, got tuple of tests"),
        (flattened, "gives logits (2, 10) for 2 images in training mode, got (20,) of tests"),
        (overwritten, "can be trained, got RuntimeError (one of the variables needed for grad"),
        (stopped, "can be trained, got RuntimeError (element 0 of tensors does not require grad"),
        (lucky, "torch's generator alone, got draws from Python's"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused_before(
    function: Callable[..., object], said: str
) -> None:
    base = custom(function)
    before = torch.get_rng_state(), random.getstate()
    with pytest.raises(ValueError, match=r"^base_network\.network must ") as refused:
        base.check()
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_a_cost_that_takes_a_training_step_refuses_it_too() -> None:
    base = custom(auxiliary)
    with pytest.raises(ValueError, match="in training mode, got tuple"):
        Memory(device="cpu", batch_size=4).sample(base, base)


@pytest.mark.parametrize("command", [plan, search])
def test_a_command_refuses_it_and_writes_nothing(
    command: Callable[..., object], tmp_path: Path
) -> None:
    run = tiny_run(
        tmp_path / "run", base_network=custom(auxiliary), candidates=Buildable(max_networks=4)
    )
    with pytest.raises(ValueError, match="in training mode, got tuple of tests"):
        printed(command, run)
    assert list(tmp_path.iterdir()) == []


def no_depth(*, width: float, **_: object) -> nn.Module:
    return simple(round(8 * width), 10)


class Resizes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = simple(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(functional.interpolate(images, (16, 16)))  # type: ignore[no-any-return]  # Module.__call__ is untyped


def resizes(**_: object) -> nn.Module:
    return Resizes()


def grouped(*, width: float, num_classes: int, **_: object) -> nn.Module:
    """One convolution wider than 1.3 times needs a quarter of the multiply-adds."""
    first = nn.Conv2d(1, 8 * round(4 * width), 1)
    groups = 1 if width < 1.3 else 8
    second = nn.Conv2d(8 * round(4 * width), 8 * round(4 * width), 3, groups=groups)
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * round(4 * width), num_classes)]
    return nn.Sequential(first, second, *end)


@pytest.mark.parametrize(
    ("function", "dimension", "said"),
    [
        (no_depth, "depth", "must cost more with twice the depth, got"),
        (resizes, "resolution", "must cost more with twice the resolution, got"),
        (grouped, "width", "must not cost less with more width, got"),
    ],
)
def test_a_dimension_that_does_not_cost_is_refused(
    function: Callable[..., object], dimension: str, said: str
) -> None:
    base = custom(function)
    with pytest.raises(ValueError, match=r"^base_network\.network must ") as refused:
        base.steps(dimension, 1.0, 1.2)
    assert said in str(refused.value)
    assert function.__name__ in str(refused.value)


def test_a_plan_says_which_dimension_does_nothing() -> None:
    with pytest.raises(ValueError, match="twice the depth"):
        Buildable().plan(Budget(custom(no_depth), Flops()))


def test_only_what_can_be_named_and_compared_is_taken() -> None:
    with pytest.raises(ValueError, match="must be a function at the top of a module"):
        custom(lambda **_: simple(8, 10))
    with pytest.raises(ValueError, match="must have plain options"):
        custom(partial(own.build, blocks=(1, 2, 3)))
    with pytest.raises(ValueError, match=r"network\.depth is not an option"):
        custom(partial(own.build, depth=2.0))
    with pytest.raises(ValueError, match="step"):
        custom(own.build, step=0.0)
