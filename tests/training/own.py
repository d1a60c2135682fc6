"""A training, as a user would write one: a small loop, and metrics that are no accuracy."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader


def train(
    *,
    network: nn.Module,
    data: Any,
    seed: int,
    device: str,
    folder: Path,
    report: Callable[..., None],
    epochs: int = 1,
    learning_rate: float = 0.05,
    with_test: bool = True,
) -> dict[str, object]:
    """Trains by SGD; returns the margin of the right class and the error, as tensors."""
    (folder / "begun").touch()
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9)
    order = torch.Generator().manual_seed(seed)
    for epoch in range(1, epochs + 1):
        network.train()
        for images, labels in DataLoader(data.train, 20, shuffle=True, generator=order):
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(images.to(device)), labels.to(device))
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
        scores: dict[str, object] = dict(scored(network, data.val, device))
        report(epoch, **scores)
    if data.test is not None and with_test:
        scores["test_margin"] = scored(network, data.test, device)["margin"]
    return scores


@torch.no_grad()
def scored(network: nn.Module, split: Any, device: str) -> dict[str, Tensor]:
    """Mean probability of the right class, and the part of images with another prediction."""
    network.eval()
    batches: Iterable[Any] = DataLoader(split, 50)
    chances, errors = [], []
    for images, labels in batches:
        chance = network(images.to(device)).softmax(1)
        chances.append(chance.gather(1, labels.to(device)[:, None]))
        errors.append((chance.argmax(1) != labels.to(device)).float())
    return {"margin": torch.cat(chances).mean(), "error": torch.cat(errors).mean()}


def lacking(**given: Any) -> dict[str, object]:
    """Returns no objective."""
    return {"error": train(**given)["error"]}


def raising(**given: Any) -> dict[str, object]:
    """Raises once a file of its folder says that it ran before, else leaves the file."""
    folder: Path = given["folder"]
    if (folder / "before").exists():
        return train(**given)
    (folder / "before").touch()
    raise KeyError("a label")


def wrong(kind: str, **given: Any) -> object:
    """Returns what is no metric."""
    del given
    values: dict[str, object] = {
        "text": {"margin": "high"},
        "many": {"margin": torch.ones(2)},
        "infinite": {"margin": float("inf")},
        "list": [0.5],
        "column": {"margin": 0.5, "flops": 3},
    }
    return values[kind]


def leaving(**given: Any) -> object:
    """Ends its process, or so it means."""
    del given
    raise SystemExit(0)


def losses(
    *, data: Any, seed: int, has_accuracy: bool = True, by_seed: bool = False, **given: Any
) -> dict[str, object]:
    """Metrics with the names of this package's, worse than chance would be for it."""
    number = sum(one.numel() for one in given["network"].parameters())
    loss = 900 - number / 500 + seed / 9
    metrics: dict[str, object] = {"val_loss": loss}
    if has_accuracy:
        metrics["val_accuracy"] = 1 / loss
    if by_seed and seed:
        metrics["f1"] = 0.5
    if data.test is not None:
        metrics["test_loss"] = loss
    return metrics


def without_data(
    *, data: object, network: nn.Module, report: Callable[..., None], **given: Any
) -> Any:
    """Brings data of its own: a gap that is smaller for more weights, with a seed's noise."""
    assert data is None
    number = sum(one.numel() for one in network.parameters())
    draw = torch.Generator().manual_seed(given["seed"] + number)
    gap = 900 - number / 500 + 3 * torch.randn((), generator=draw).item()
    report(1, gap=gap + 50)
    report(2, gap=gap)
    return {"gap": gap}


def misfit(network: nn.Module, images: Tensor) -> None:
    """Takes other arguments than a training is called with."""
