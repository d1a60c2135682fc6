"""Loss and accuracy of a network on images that it was not trained on."""

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
from scaling_search.training.feed import Feed
from scaling_search.training.recorded import Recorded
from scaling_search.training.steps import autocast

EVALUATED_AT_ONCE = 500
"""Images in a batch of evaluation: enough to fill a device, few enough for its memory."""


class Evaluation:
    """Evaluates a network, between epochs too. On CUDA a batch is recorded once and replayed."""

    def __init__(
        self, network: nn.Module, data: Loaded, recipe: Recipe, *, at_once: int = EVALUATED_AT_ONCE
    ) -> None:
        """Evaluates nothing yet.

        Args:
            network: On the data's device; put into evaluation mode whenever it is evaluated.
            data: The splits.
            recipe: Precision, memory format and whether to record.
            at_once: Images in a batch.
        """
        self._network, self._data, self._recipe, self._at_once = network, data, recipe, at_once
        self._device = data.mean.device
        self._recorded = Recorded(self._device, is_wanted=recipe.cuda_graph, warm_up=1)
        self._batch = torch.empty(0)
        self._logits = torch.empty(0)

    @property
    def num_captures(self) -> int:
        """Number of times that a batch was recorded: 1 or 0."""
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
        """The logits of a split and its labels, batch by batch; the next overwrites the logits."""
        self._network.eval()
        at_once = self._at_once
        batches = torch.split(split.labels, at_once)
        if self._device.type != "cuda" and self._data.holds(split):
            for images, labels in zip(torch.split(split.images, at_once), batches, strict=True):
                yield self._forward(images), labels
            return
        # One shape for all batches: what is recorded has one. The rest of the last is of no use.
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
                self._recorded.do(self._forward_batch)
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
