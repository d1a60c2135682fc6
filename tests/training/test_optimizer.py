"""Optimizers: torch's, by the recipe's options, and which weights decay."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from scaling_search.core.recipe import learning_rate
from scaling_search.training.batches import augmented_batches, load
from scaling_search.training.optimizer import make_optimizer
from scaling_search.training.steps import Steps
from tests.tiny import tiny_dataset, tiny_network, tiny_recipe

ADAMW: dict[str, Any] = {
    "optimizer": "adamw",
    "betas": (0.8, 0.99),
    "eps": 1e-6,
    "weight_decay": 0.3,
    "learning_rate": 0.01,
    "epochs": 2,
}


def built() -> nn.Module:
    torch.manual_seed(1)
    return tiny_network(dropout=0.0, stochastic_depth=0.0).build().train()


def by_torch(network: nn.Module, recipe: Any, clip_norm: float | None) -> list[Tensor]:
    """Weights after two epochs of torch's AdamW in a plain loop."""
    recipe = dataclasses.replace(recipe, clip_norm=None)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent in torch's stub
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}],
        lr=1.0,
        betas=(0.8, 0.99),
        eps=1e-6,
        fused=True,
    )
    data, step = load(tiny_dataset(), 8, "cpu"), 0
    for epoch in range(2):
        for images, labels in augmented_batches(data, 0, epoch, recipe):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, 5)
            functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    return list(network.parameters())


@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_adamw_is_torchs_to_the_bit(clip_norm: float | None, schedule: str) -> None:
    recipe = tiny_recipe(**ADAMW, clip_norm=clip_norm, schedule=schedule)
    steps = Steps(built(), load(tiny_dataset(), 8, "cpu"), recipe, seed=0)
    for _ in range(2):
        steps.epoch()
    for mine, theirs in zip(
        steps.network.parameters(), by_torch(built(), recipe, clip_norm), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_adamw_does_what_its_authors_write() -> None:
    # Source: Loshchilov & Hutter 2019, algorithm 2, one weight in double precision.
    weight = nn.Parameter(torch.tensor([[2.0]], dtype=torch.float64))
    network = nn.Module()
    network.register_parameter("weight", weight)
    optimizer = make_optimizer(
        network, tiny_recipe(**ADAMW), torch.tensor(0.01, dtype=torch.double)
    )
    expected, first, second = 2.0, 0.0, 0.0
    for step, gradient in enumerate((0.5, -2.0, 1.0), start=1):
        weight.grad = torch.tensor([[gradient]], dtype=torch.float64)
        optimizer.step()
        first = 0.8 * first + 0.2 * gradient
        second = 0.99 * second + 0.01 * gradient**2
        root = (second / (1 - 0.99**step)) ** 0.5
        expected -= 0.01 * (first / (1 - 0.8**step) / (root + 1e-6) + 0.3 * expected)
        assert weight.item() == pytest.approx(expected, rel=1e-9)


class Named(nn.Module):
    """A transformer's parameters, and one that it names itself."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.places = nn.Parameter(torch.zeros(1, 5, 8))
        self.table = nn.Parameter(torch.zeros(5, 8))
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

    def no_weight_decay(self) -> set[str]:
        return {"token", "table"}


@pytest.mark.parametrize(("optimizer", "named"), [("sgd", []), ("adamw", ["token", "table"])])
def test_norms_and_biases_do_not_decay_nor_by_adamw_what_a_network_names(
    optimizer: str, named: list[str]
) -> None:
    inner = Named()
    network = nn.Sequential(inner, nn.Conv2d(3, 1, 3))
    made = make_optimizer(network, tiny_recipe(optimizer=optimizer), torch.zeros(()))
    decayed, others = made.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (1e-4, 0.0)
    weights = [inner.linear.weight, network[1].weight]
    weights += [getattr(inner, one) for one in ("token", "places", "table") if one not in named]
    assert {id(p) for p in decayed["params"]} == {id(one) for one in weights}
    assert len(decayed["params"]) + len(others["params"]) == len(list(network.parameters()))


@pytest.mark.parametrize(("momentum", "nesterov", "is_so"), [(0.9, True, True), (0.0, True, False)])
def test_sgd_takes_its_momentum_by_nesterov_or_without(
    momentum: float, nesterov: bool, is_so: bool
) -> None:
    recipe = tiny_recipe(momentum=momentum, nesterov=nesterov)
    group = make_optimizer(built(), recipe, torch.zeros(())).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (momentum, is_so)
    plain = make_optimizer(built(), tiny_recipe(nesterov=False), torch.zeros(()))
    assert plain.param_groups[0]["nesterov"] is False


@pytest.mark.parametrize("clip_norm", [0.01, 1.0])
def test_gradients_are_clipped_to_their_common_norm(clip_norm: float) -> None:
    # At rate 1 without momentum and decay the weights move by the gradient.
    options: dict[str, Any] = {"learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0}
    moved = []
    for limit in (None, clip_norm):
        recipe = tiny_recipe(**options, clip_norm=limit, warmup_epochs=0.0)
        network = built()
        before = [p.detach().clone() for p in network.parameters()]
        steps = Steps(network, load(tiny_dataset(), 8, "cpu"), recipe, seed=0)
        steps.advance()
        moved.append(
            torch.cat(
                [(p - b).flatten() for p, b in zip(network.parameters(), before, strict=True)]
            )
        )
    free, clipped = moved
    assert clipped.norm().item() == pytest.approx(min(clip_norm, free.norm().item()), rel=1e-3)
    direction = torch.nn.functional.cosine_similarity(free, clipped, dim=0)
    assert direction.item() == pytest.approx(1, abs=1e-5)
