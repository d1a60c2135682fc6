"""Optimisation steps: of a whole batch, of its parts in turn, or recorded once and replayed."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from scaling_search.training.batches import Draws, Loaded, augmented, drawn, padded_by
from scaling_search.training.recipe import Recipe, learning_rate

NUM_WARM_UP = 3
"""Steps that are taken before one is recorded: kernels are chosen, buffers made in them."""


class Steps:
    """The steps of one training, in order. Everything that a step changes lies on its device.

    A step takes its images, its learning rate and its place in the epoch from there, so that it
    can be recorded as a CUDA graph, and the host waits for nothing. Which images, in which order
    and moved how depends on the seed alone, not on ``micro_batches``.

    Attributes:
        network: What is trained, on the device.
        optimizer: What changes its weights.
        averaged: The average of its weights, where the recipe wants one.
        batch_size: Images in a step.
        per_epoch: Steps in a whole epoch.
        total: Steps of the whole training.
        taken: Steps so far.
        num_captures: How often a step was recorded: once, or never.
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
        """Makes a network ready to be trained; it lies on the data's device.

        Args:
            network: On the device, freshly initialised.
            data: The splits on the device.
            recipe: How to train.
            seed: Of the draws.
            micro_batches: Parts of a batch whose gradients are summed.
        """
        labels = data.splits.train.labels
        self.batch_size = min(recipe.batch_size, len(labels))
        self.per_epoch = len(labels) // self.batch_size
        self.total = recipe.num_steps(self.per_epoch)
        self.taken = 0
        self.num_captures = 0
        if recipe.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent in torch's stub
        self.network = network
        self.averaged = _averaged(network, recipe.averaging)
        self._forward = torch.compile(network) if recipe.compile else network
        self._data, self._recipe, self._seed = data, recipe, seed
        self._micro_batches = micro_batches
        self._device = labels.device
        self._padding = padded_by(data, recipe.crop)
        self._draws = Draws(*(values.to(self._device) for values in self._drawn(0)))
        self._within = torch.arange(self.batch_size, device=self._device)
        self._step = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._losses = torch.zeros((), device=self._device)
        rates = [learning_rate(recipe, step, self.per_epoch) for step in range(self.total)]
        # Fused CUDA kernels read a float; a CPU's take a double, and rounding would be a change.
        kind = torch.float64 if self._device.type == "cpu" else torch.float32
        self._rates = torch.tensor(rates, dtype=kind, device=self._device)
        self._rate = self._rates[0].clone()
        self.optimizer = torch.optim.SGD(
            _parameter_groups(network, recipe.weight_decay),
            lr=self._rate,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            fused=self._device.type != "mps",
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate  # this very tensor, whatever the optimiser made of it
        self._warm_up_left = NUM_WARM_UP
        self._aside: torch.cuda.Stream | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        if recipe.cuda_graph and self._device.type == "cuda" and data.is_resident:
            self._aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch's

    @property
    def taken_of_epoch(self) -> int:
        """Steps taken since the last epoch's end; after an epoch all of it."""
        return (self.taken - 1) % self.per_epoch + 1 if self.taken else 0

    def epoch(self, after_step: Callable[[], None] = lambda: None) -> Tensor:
        """Takes the steps that are left of an epoch, the last cut short; the sum of their losses.

        The sum stays on the device, so that only who reads it waits; the next epoch overwrites it.

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
        """All that the next steps depend on, by name; each a copy in the host's memory."""
        held = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self._tensors()
        }
        held["random"] = torch.get_rng_state()
        if self._device.type == "cuda":
            held["random.cuda"] = torch.cuda.get_rng_state(self._device)
        return held

    def restore(self, state: Mapping[str, Tensor], taken: int) -> None:
        """Goes on from where another training of the same trial was.

        Args:
            state: As `state` gave it.
            taken: Steps that it had taken.
        """
        for number, parameter in enumerate(self._parameters()):
            if f"momentum.{number}" in state:  # the first step would have made it
                self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        with torch.no_grad():
            for name, tensor in self._tensors():
                tensor.copy_(state[name])
        torch.set_rng_state(state["random"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state["random.cuda"], self._device)
        self.taken = taken
        self._step.fill_(taken)
        if taken % self.per_epoch:
            self._draw(taken // self.per_epoch)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self.network.state_dict().items():
            yield f"network.{name}", tensor
        if self.averaged is not None:
            for name, tensor in self.averaged.state_dict().items():
                yield f"averaged.{name}", tensor
        for number, parameter in enumerate(self._parameters()):
            buffer = self.optimizer.state[parameter].get("momentum_buffer")
            if buffer is not None:
                yield f"momentum.{number}", buffer
        yield "losses", self._losses

    def _parameters(self) -> Iterator[Tensor]:
        for group in self.optimizer.param_groups:
            yield from group["params"]

    def advance(self) -> None:
        """Takes one step."""
        epoch, place = divmod(self.taken, self.per_epoch)
        if place == 0:
            self._draw(epoch)
        if self._aside is None:
            self._take()
        elif self._warm_up_left:
            self._warm_up_left -= 1
            self._take_aside(self._aside)
        else:
            if self._graph is None:
                self._graph = self._captured(self._aside)
            self._graph.replay()
        self.taken += 1

    def _draw(self, epoch: int) -> None:
        for held, new in zip(self._draws, self._drawn(epoch), strict=True):
            held.copy_(new, non_blocking=True)

    def _drawn(self, epoch: int) -> Draws:
        number = len(self._data.splits.train.labels)
        recipe = self._recipe
        return drawn(number, self._seed, epoch, padding=self._padding, flip=recipe.flip)

    def _take(self) -> None:
        """One step, by nothing but work on the device; what is recorded."""
        recipe = self._recipe
        self._rate.copy_(self._rates[self._step].squeeze(0))
        places = self._step % self.per_epoch * self.batch_size + self._within
        images, labels = augmented(self._data, self._draws, places, padding=self._padding)
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
                    self._forward(some_images), some_labels, label_smoothing=recipe.label_smoothing
                )
            share = loss * (len(some_labels) / self.batch_size)
            share.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self._losses += share.detach()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
        self._step += 1

    def _take_aside(self, stream: torch.cuda.Stream) -> None:
        """One step on another stream, where what will be recorded is warmed up.

        It is a step of the training like any other, so that nothing needs to be put back.
        """
        present = torch.cuda.current_stream(self._device)
        stream.wait_stream(present)
        with torch.cuda.stream(stream):
            self._take()
        present.wait_stream(stream)

    def _captured(self, stream: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        """A step as a graph, recorded without being taken.

        Gradients are none before and after, so that they are made within it and every replay
        begins without any; dropout goes on along the device's own stream of random numbers.
        """
        graph = torch.cuda.CUDAGraph()
        # The stream twice: an interrupted recording leaves its own behind as the current one.
        with (
            torch.cuda.device(self._device),
            torch.cuda.stream(stream),
            torch.cuda.graph(graph, stream=stream),
        ):
            self._take()
        self.num_captures += 1
        return graph


def autocast(recipe: Recipe, kind: str) -> torch.autocast:
    """bfloat16 where the recipe wants it and the kind of device is ``cuda``."""
    enabled = recipe.mixed_precision and kind == "cuda"
    # A forward pass casts each weight once; what a cache kept would outlive a recorded step.
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weights of more than one axis decay; norms and biases do not."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _averaged(network: nn.Module, decay: float) -> torch.optim.swa_utils.AveragedModel | None:
    if decay == 0:
        return None
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # as above
    return torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=average, use_buffers=True)
