"""The recipe: hyperparameters of training, and the learning rate of each step."""

import math
from dataclasses import field, replace
from typing import Annotated, Literal

from pydantic import Field

from scaling_search.core.part import part

Fraction = Annotated[float, Field(ge=0, lt=1)]


@part
class Recipe:
    """Training hyperparameters, equal for all networks of an experiment.

    Attributes:
        epochs: Passes over the training split; the last may be cut short.
        batch_size: Images in a step; the rest of an epoch that fills no batch is left out.
        learning_rate: The highest, reached after warm-up; a cosine then takes it to 0. ``auto``
            for the best of those that the check asks, the default's and its neighbours.
        warmup_epochs: Epochs of linear warm-up.
        momentum: Nesterov momentum of SGD.
        weight_decay: L2 penalty on weights, not on norms and biases.
        label_smoothing: Probability moved from the label to all classes, in training only.
        averaging: Decay per step of the average of weights that is evaluated; 0 for none.
        crop: Zero padding before a random crop, a fraction of the native size, rounded to whole
            pixels; crops are resized to the network's resolution.
        flip: True if half of the images are mirrored.
        mixed_precision: bfloat16 autocast on CUDA; on a CPU it is slower and never used.
        channels_last: Memory format of images and weights.
        deterministic: Only deterministic kernels on CUDA; on a CPU results always repeat.
        compile: torch.compile for the steps; compiling outlasts a short training.
        cuda_graph: On CUDA, record a whole step once and replay it.
        checkpoint_minutes: Time between two checkpoints, from which an interrupted training goes on
            to the same bits; None for no checkpoints. It changes no result.
        equal: Quantity that is equal for networks of one target: ``epochs``, or
            ``training_flops``, with which a more expensive network trains for fewer epochs.
        check: True if a search first trains a few networks at other rates and without
            augmentation. It changes no result.
    """

    epochs: Annotated[float, Field(gt=0)] = 4.0
    batch_size: Annotated[int, Field(ge=2)] = 64
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = 0.4
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.5
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    label_smoothing: Fraction = 0.0
    averaging: Fraction = 0.0
    crop: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    flip: bool = False
    mixed_precision: bool = True
    channels_last: bool = True
    deterministic: bool = False
    compile: bool = False
    cuda_graph: bool = True
    checkpoint_minutes: Annotated[float, Field(gt=0)] | None = None
    equal: Literal["epochs", "training_flops"] = "epochs"
    check: bool = field(default=True, repr=False)

    def __post_init__(self) -> None:
        """Refuses a rate that nothing would settle."""
        if self.is_open and not self.check:
            raise ValueError(
                "recipe.check must be true for recipe.learning_rate=auto, which it chooses, got "
                "false; add recipe.check=true or give a number"
            )

    @property
    def is_open(self) -> bool:
        """True if the check has still to settle the learning rate."""
        return self.learning_rate == "auto"

    @property
    def rate(self) -> float:
        """The learning rate; while that is open the default, from which the check starts."""
        return Recipe().rate if isinstance(self.learning_rate, str) else self.learning_rate

    @property
    def is_augmented(self) -> bool:
        """True if training images are cropped or mirrored."""
        return self.crop > 0 or self.flip

    def stretched(self, factor: float) -> "Recipe":
        """The same schedule with warm-up, over ``factor`` times the epochs."""
        return replace(self, epochs=self.epochs * factor, warmup_epochs=self.warmup_epochs * factor)

    def num_steps(self, steps_per_epoch: int) -> int:
        """Steps of a whole training."""
        return max(1, round(self.epochs * steps_per_epoch))


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The rate of a step counted from 0: linear warm-up, then half a cosine that ends at 0."""
    warmup = recipe.warmup_epochs * steps_per_epoch
    if step < warmup:
        return recipe.rate * (step + 1) / (warmup + 1)
    remaining = max(1.0, recipe.num_steps(steps_per_epoch) - warmup)
    return recipe.rate * (1 + math.cos(math.pi * (step - warmup) / remaining)) / 2
