"""Trains a small convolutional network on images of the IDX format, and prints its metrics."""

import argparse
import gzip
import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional


def build(
    depth: float,
    width: float,
    resolution: float = 1.0,
    num_classes: int = 10,
    in_channels: int = 1,
) -> nn.Module:
    """The network; its shapes do not depend on the multiplier of the resolution."""
    del resolution
    layers: list[nn.Module] = []
    for stage, blocks in enumerate((2, 3)):
        channels = round(12 * 2**stage * width)
        for block in range(round(blocks * depth)):
            stride = 2 if block == 0 else 1
            layers += [nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
            in_channels = channels
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, num_classes)
    )


def read(folder: Path, split: str, count: int, resolution: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, H, W) at a size and labels (N,) from files of the IDX format."""
    with gzip.open(folder / f"{split}-images.gz") as images:
        pixels = torch.frombuffer(bytearray(images.read()[16:]), dtype=torch.uint8)
    with gzip.open(folder / f"{split}-labels.gz") as labels:
        classes = torch.frombuffer(bytearray(labels.read()[8:]), dtype=torch.uint8).long()
    pixels = pixels.view(-1, 1, 28, 28)[:count].float() / 255
    size = (resolution, resolution)
    return functional.interpolate(pixels, size, mode="bilinear", antialias=True), classes[:count]


def main() -> None:
    """Trains, prints a JSON line after each epoch and one with the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--depth", type=float, default=1.0)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--res", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()

    torch.manual_seed(given.seed)
    network = build(given.depth, given.width).to(given.device)
    images, labels = (
        x.to(given.device) for x in read(given.data, "train", given.images, given.res)
    )
    val, answers = (x.to(given.device) for x in read(given.data, "val", given.images, given.res))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for epoch in range(1, given.epochs + 1):
        network.train()
        for batch in torch.randperm(len(images)).split(50):
            functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
        network.eval()
        with torch.no_grad():
            logits = network(val)
        loss = functional.cross_entropy(logits, answers).item()
        error = (logits.argmax(1) != answers).float().mean().item()
        print(json.dumps({"epoch": epoch, "loss": loss, "error": error}), flush=True)
    print(json.dumps({"loss": loss, "error": error}))


if __name__ == "__main__":
    main()
