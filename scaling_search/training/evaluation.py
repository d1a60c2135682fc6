"""Loss and accuracy of a network on the validation and the test split."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from scaling_search.core.dataset import Split
from scaling_search.core.recipe import Recipe
from scaling_search.core.trial import TestScores
from scaling_search.training.batches import Loaded
from scaling_search.training.cuda_graphs import CapturedWork
from scaling_search.training.feed import Feed
from scaling_search.training.steps import autocast

EVALUATED_AT_ONCE = 500
"""Images in a batch of evaluation."""


class Evaluation:
    """The evaluation of a network, also between epochs; on CUDA by a captured graph.

    The network lies on the data's device; the recipe decides precision and memory format.
    """

    def __init__(
        self, network: nn.Module, data: Loaded, recipe: Recipe, *, at_once: int = EVALUATED_AT_ONCE
    ) -> None:
        self._network, self._data, self._recipe, self._at_once = network, data, recipe, at_once
        self._device = data.mean.device
        self._recorded = CapturedWork(self._device, is_wanted=recipe.cuda_graph, warm_up=1)
        self._batch = torch.empty(0)
        self._logits = torch.empty(0)

    @property
    def num_captures(self) -> int:
        """Number of captures of a batch: 1 or 0."""
        return self._recorded.num_captures

    def scores(self, split: Split) -> tuple[float, float]:
        """Mean cross-entropy in nats, without smoothing, and top-1 accuracy, a fraction."""
        losses = torch.zeros((), device=self._device, dtype=torch.float64)
        hits = torch.zeros((), device=self._device, dtype=torch.int64)
        for logits, labels in self._answers(split):
            losses += functional.cross_entropy(logits.float(), labels, reduction="sum")
            hits += (logits.argmax(1) == labels).sum()
        return losses.item() / len(split.labels), hits.item() / len(split.labels)

    def test_scores(self, split: Split) -> TestScores:
        """Mean loss and accuracy, and both of each image."""
        losses, hits = [], []
        for logits, labels in self._answers(split):
            losses.append(functional.cross_entropy(logits.float(), labels, reduction="none"))
            hits.append(logits.argmax(1) == labels)
        loss = torch.cat(losses).cpu().double()
        hit = torch.cat(hits).cpu()
        largest = torch.finfo(torch.float16).max
        return TestScores(
            loss=loss.mean().item(),
            accuracy=hit.double().mean().item(),
            packed_losses=loss.clamp(max=largest).numpy().astype("<f2").tobytes(),
            packed_hits=np.packbits(hit.numpy()).tobytes(),
        )

    def _answers(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and labels of a split, batch by batch; the next batch overwrites the logits."""
        self._network.eval()
        at_once = self._at_once
        batches = torch.split(split.labels, at_once)
        if self._device.type != "cuda" and self._data.holds(split):
            for images, labels in zip(torch.split(split.images, at_once), batches, strict=True):
                yield self._forward(images), labels
            return
        # A captured graph has one shape; the rest of the last batch is ignored.
        shape = (at_once, *split.images.shape[1:])
        if self._batch.shape != shape:
            self._batch = torch.zeros(shape, dtype=split.images.dtype, device=self._device)
        with contextlib.ExitStack() as stack:
            feed = None
            if not self._data.holds(split):
                feed = stack.enter_context(
                    contextlib.closing(Feed(split.images, at_once, self._device))
                )
                last = len(split.labels) - 1
                feed.begin(torch.arange(len(batches) * at_once).clamp(max=last))
            for number, labels in enumerate(batches):
                if feed is None:
                    images = split.images[number * at_once :][: len(labels)]
                    self._batch[: len(labels)].copy_(images)
                else:
                    feed.next(self._batch)
                self._recorded.run(self._forward_batch)
                yield self._logits[: len(labels)], labels

    def _forward_batch(self) -> None:
        self._logits = self._forward(self._batch)

    def _forward(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            inputs = self._data.normalised(images)
            if self._recipe.channels_last:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            with autocast(self._recipe, self._device.type):
                logits: Tensor = self._network(inputs)
        return logits
