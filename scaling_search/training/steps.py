"""Optimisation steps of a training; on CUDA captured once and replayed."""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from scaling_search.core.recipe import Recipe, learning_rate
from scaling_search.training.augmentation import probabilities
from scaling_search.training.batches import Loaded, augmented, draws_of
from scaling_search.training.cuda_graphs import CapturedWork
from scaling_search.training.draws import Draws
from scaling_search.training.feed import Feed
from scaling_search.training.optimizer import make_optimizer, make_state, named_state

OPTIMIZER = "optimizer."
"""Prefix of an optimizer's tensors in a checkpoint."""


class Steps:
    """The steps of one training, in order.

    Images, learning rate and place in the epoch lie on the device, so that a step can be captured
    as a CUDA graph and the host waits for nothing. Images that are not there come from a `Feed`.
    Images, their order and their augmentation depend on the seed alone.

    Attributes:
        network: The network that is trained, on the device.
        optimizer: The optimizer of its weights.
        averaged: The average of its weights, if the recipe has one.
        batch_size: Images in a step.
        per_epoch: Steps in a whole epoch.
        total: Steps of the whole training.
        taken: Steps so far.
    """

    def __init__(
        self,
        network: nn.Module,
        data: Loaded,
        recipe: Recipe,
        *,
        seed: int,
        micro_batches: int = 1,
    ) -> None:
        """Prepares the training of a freshly initialised network on the data's device.

        The gradients of ``micro_batches`` parts of a batch are summed.
        """
        labels = data.splits.train.labels
        self.batch_size = min(recipe.batch_size, len(labels))
        self.per_epoch = len(labels) // self.batch_size
        self.total = recipe.num_steps(self.per_epoch)
        self.taken = 0
        if recipe.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent in torch's stub
        self.network = network
        self.averaged = copy.deepcopy(network) if recipe.averaging else None
        self._forward = torch.compile(network) if recipe.compile else network
        self._data, self._recipe, self._seed = data, recipe, seed
        self._micro_batches = micro_batches
        self._device = labels.device
        self._draws = Draws(*(v.to(self._device) for v in draws_of(data, recipe, seed, 0)))
        self._class_weights = class_weights(recipe, data)
        self._feed: Feed | None = None
        self._fed: Tensor | None = None
        if not data.holds(data.train):
            self._feed = Feed(data.train.images, self.batch_size, self._device)
            shape = (self.batch_size, *data.train.images.shape[1:])
            self._fed = torch.empty(shape, dtype=data.train.images.dtype, device=self._device)
        self._within = torch.arange(self.batch_size, device=self._device)
        self._step = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._losses = torch.zeros((), device=self._device)
        rates = [learning_rate(recipe, step, self.per_epoch) for step in range(self.total)]
        # Fused CUDA kernels read a float; a CPU's take a double, and rounding would be a change.
        kind = torch.float64 if self._device.type == "cpu" else torch.float32
        self._rates = torch.tensor(rates, dtype=kind, device=self._device)
        self._rate = self._rates[0].clone()
        self.optimizer = make_optimizer(network, recipe, self._rate)
        self._recorded = CapturedWork(
            self._device,
            is_wanted=recipe.cuda_graph,
            remedy="; recipe.cuda_graph=false takes each step as it is written",
        )

    @property
    def num_captures(self) -> int:
        """Number of captures of a step: 1 or 0."""
        return self._recorded.num_captures

    @property
    def evaluated(self) -> nn.Module:
        """The network to evaluate: that with averaged weights, if there is one."""
        return self.network if self.averaged is None else self.averaged

    @property
    def taken_of_epoch(self) -> int:
        """Steps taken since the last epoch's end; after an epoch all of it."""
        return (self.taken - 1) % self.per_epoch + 1 if self.taken else 0

    def epoch(self, after_step: Callable[[], None] = lambda: None) -> Tensor:
        """Takes the remaining steps of an epoch and returns the sum of the epoch's losses.

        The sum stays on the device, so that only a reader waits; the next epoch overwrites it.

        Args:
            after_step: Called after each step but the last of an epoch.
        """
        until = min(self.total, (self.taken // self.per_epoch + 1) * self.per_epoch)
        if self.taken % self.per_epoch == 0:
            self._losses.zero_()
        while self.taken < until:
            self.advance()
            if self.taken < until:
                after_step()
        return self._losses

    def state(self) -> dict[str, Tensor]:
        """The state that the next steps depend on, copied to the host's memory."""
        held = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self._tensors()
        }
        held["random"] = torch.get_rng_state()
        if (random := self._recorded.random_state()) is not None:
            held["random.cuda"] = random
        return held

    def restore(self, state: Mapping[str, Tensor], taken: int) -> None:
        """Restores the state of another training of the same trial after ``taken`` steps."""
        held = {name: tensor for name, tensor in state.items() if name.startswith(OPTIMIZER)}
        make_state(self.optimizer, {name.removeprefix(OPTIMIZER): t for name, t in held.items()})
        with torch.no_grad():
            for name, tensor in self._tensors():
                tensor.copy_(state[name])
        torch.set_rng_state(state["random"])
        if "random.cuda" in state:
            self._recorded.draw_from(state["random.cuda"])
        self.taken = taken
        self._step.fill_(taken)
        if taken % self.per_epoch:
            self._draw()

    def close(self) -> None:
        """Ends the thread that fetches images, where there is one."""
        if self._feed is not None:
            self._feed.close()

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self.network.state_dict().items():
            yield f"network.{name}", tensor
        if self.averaged is not None:
            for name, tensor in self.averaged.state_dict().items():
                yield f"averaged.{name}", tensor
        for name, tensor in named_state(self.optimizer):
            yield f"{OPTIMIZER}{name}", tensor
        yield "losses", self._losses

    def advance(self) -> None:
        """Takes one step.

        Raises:
            CaptureError: It is to be captured, and the network waits for the host.
        """
        if self.taken % self.per_epoch == 0:
            self._draw()
        if self._feed is not None and self._fed is not None:
            self._feed.next(self._fed)
        self._recorded.run(self._take)
        self.taken += 1

    def _draw(self) -> None:
        """Draws the random numbers of the next step's epoch, and starts the feed of its images."""
        epoch, place = divmod(self.taken, self.per_epoch)
        drawn_now = draws_of(self._data, self._recipe, self._seed, epoch)
        for held, new in zip(self._draws, drawn_now, strict=True):
            held.copy_(new, non_blocking=True)
        if self._feed is not None:
            self._feed.begin(drawn_now.order, place)

    def _take(self) -> None:
        """Does the work of one step, all on the device, the same each time but for the first."""
        recipe = self._recipe
        self._rate.copy_(self._rates[self._step].squeeze(0))
        places = self._step % self.per_epoch * self.batch_size + self._within
        images, labels = augmented(self._data, self._draws, places, recipe, fetched=self._fed)
        if self._class_weights is not None and labels.ndim == 1:
            # Of classes, torch would divide by the sum of a batch's weights.
            labels = probabilities(labels, len(self._class_weights))
        if not recipe.channels_last:
            images = images.contiguous()
        parts = zip(
            images.tensor_split(self._micro_batches),
            labels.tensor_split(self._micro_batches),
            strict=True,
        )
        for some_images, some_labels in parts:
            with autocast(recipe, self._device.type):
                loss = functional.cross_entropy(
                    self._forward(some_images),
                    some_labels,
                    weight=self._class_weights,
                    label_smoothing=recipe.label_smoothing,
                )
            share = loss * (len(some_labels) / self.batch_size)
            share.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self._losses += share.detach()
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged is not None:
            self._average(self.averaged)
        self._step += 1

    @torch.no_grad()
    def _average(self, averaged: nn.Module) -> None:
        """Moves the average towards the weights; after the first step it equals them."""
        tensors = (
            itertools.chain(network.parameters(), network.buffers())
            for network in (averaged, self.network)
        )
        decaying: list[tuple[Tensor, Tensor]] = []
        copied: list[tuple[Tensor, Tensor]] = []
        for pair in zip(*tensors, strict=True):
            (decaying if self.taken and pair[0].is_floating_point() else copied).append(pair)
        # One kernel for all tensors of a kind; torch has no public name for it.
        if decaying:
            own, new = map(list, zip(*decaying, strict=True))
            torch._foreach_lerp_(own, new, 1 - self._recipe.averaging)
        if copied:
            own, new = map(list, zip(*copied, strict=True))
            torch._foreach_copy_(own, new)


def class_weights(recipe: Recipe, data: Loaded) -> Tensor | None:
    """The weight (C,) of each class in the loss, on the data's device; None for none."""
    if recipe.class_weights is None:
        return None
    labels = data.train.labels
    if recipe.class_weights != "balanced":
        return torch.tensor(recipe.class_weights, device=labels.device)
    counts = labels.bincount(minlength=data.num_classes)
    # A class without images has none to weigh.
    return len(labels) / (data.num_classes * counts.clamp(min=1)).float()


def autocast(recipe: Recipe, kind: str) -> torch.autocast:
    """The context of bfloat16, enabled if the recipe has it and the kind of device is ``cuda``."""
    enabled = recipe.mixed_precision and kind == "cuda"
    # A forward pass casts each weight once; a cache would outlive a captured step.
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)
