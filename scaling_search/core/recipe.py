"""The recipe: hyperparameters of training, and the learning rate of each step."""

import math
from dataclasses import field, fields, replace
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from scaling_search.core.part import part

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Area = Annotated[float, Field(gt=0, le=1)]

OWN_OPTIONS = {"sgd": ("momentum", "nesterov"), "adamw": ("betas", "eps")}
"""Options that one optimizer alone takes."""

FIRST_RATES = {"sgd": 0.4, "adamw": 0.001}
"""Learning rates from which the check starts with ``auto``."""

MOST_RATES = {"sgd": math.inf, "adamw": 0.1}
"""Learning rates above which a search is refused: they are meant for the other optimizer."""

AUGMENTATION = (
    *("crop", "resized_crop", "flip", "color_jitter", "rand_augment", "erasing"),
    *("mixup", "cutmix"),
)
"""Options that change training images; their defaults leave them as they are."""


@part
class Recipe:
    """Training hyperparameters, equal for all networks of an experiment.

    Attributes:
        epochs: Passes over the training split; the last may be cut short.
        batch_size: Images in a step; the rest of an epoch that fills no batch is left out.
        optimizer: ``sgd`` or ``adamw``.
        learning_rate: The highest, reached after warm-up. ``auto`` for the best of those that the
            check asks, the optimizer's first rate and its neighbours.
        schedule: Rate after warm-up: half a ``cosine`` or a ``linear`` fall to 0, or ``constant``.
        warmup_epochs: Epochs of linear warm-up.
        momentum: Momentum of SGD.
        nesterov: True for Nesterov's form of that momentum.
        betas: Decays per step of AdamW's two means, of gradients and of their squares.
        eps: Added to AdamW's denominator.
        weight_decay: L2 penalty of SGD, decoupled decay of AdamW; not on norms, biases, class and
            position tokens.
        clip_norm: Largest norm of all gradients together; None for no clipping.
        label_smoothing: Probability moved from the label to all classes, in training only.
        class_weights: Weight of each class in the training loss; ``balanced`` for the inverse of
            its number of training images, 1 in the mean over them; None for 1.
        averaging: Decay per step of the average of weights that is evaluated; 0 for none.
        crop: Zero padding before a random crop, a fraction of the native size, rounded to whole
            pixels; crops are resized to the network's resolution.
        resized_crop: Range of the part of the image's area that a random crop has, which is resized
            to the network's resolution; None for none.
        flip: True if half of the images are mirrored.
        color_jitter: Largest relative change of brightness, contrast and saturation.
        rand_augment: Number of random operations on an image, and their magnitude of 30; None for
            none.
        erasing: Probability that a random box of an image is erased.
        mixup: Alpha of the beta distribution of the parts in which two images are mixed; 0 for
            none.
        cutmix: Alpha of that of the area that a box of another image leaves; 0 for none. With both,
            each image has the one or the other.
        start: safetensors file of weights to start from, where name and shape are the network's;
            None for random weights.
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

    epochs: Positive = 4.0
    batch_size: Annotated[int, Field(ge=2)] = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Positive | Literal["auto"] = 0.4
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_epochs: NotNegative = 0.5
    momentum: Fraction = 0.9
    nesterov: bool = True
    betas: Annotated[tuple[Fraction, Fraction], Strict(strict=False)] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NotNegative = 1e-4
    clip_norm: Positive | None = None
    label_smoothing: Fraction = 0.0
    class_weights: (
        Literal["balanced"] | Annotated[tuple[NotNegative, ...], Strict(strict=False)] | None
    ) = None
    averaging: Fraction = 0.0
    crop: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    resized_crop: Annotated[tuple[Area, Area], Strict(strict=False)] | None = None
    flip: bool = False
    color_jitter: Probability = 0.0
    rand_augment: (
        Annotated[
            tuple[Annotated[int, Field(ge=1, le=10)], Annotated[int, Field(ge=0, le=30)]],
            Strict(strict=False),
        ]
        | None
    ) = None
    erasing: Probability = 0.0
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    start: Annotated[str, Field(min_length=1)] | None = None
    mixed_precision: bool = True
    channels_last: bool = True
    deterministic: bool = False
    compile: bool = False
    cuda_graph: bool = True
    checkpoint_minutes: Positive | None = None
    equal: Literal["epochs", "training_flops"] = "epochs"
    check: bool = field(default=True, repr=False)

    def __post_init__(self) -> None:
        """Refuses options that contradict each other."""
        if self.is_open and not self.check:
            raise ValueError(
                "recipe.check must be true for recipe.learning_rate=auto, which it chooses, got "
                "false; add recipe.check=true or give a number"
            )
        self._check_optimizer()
        if self.resized_crop is not None:
            self._check_resized_crop(*self.resized_crop)

    def _check_optimizer(self) -> None:
        defaults = self._defaults()
        for optimizer, options in OWN_OPTIONS.items():
            for option in options:
                value, default = getattr(self, option), defaults[option]
                if optimizer != self.optimizer and value != default:
                    raise ValueError(
                        f"recipe.{option} must be {text_of(default)} with "
                        f"recipe.optimizer={self.optimizer}, which does not take it, got "
                        f"{text_of(value)}; leave it out or add recipe.optimizer={optimizer}"
                    )

    def check_length(self) -> None:
        """Checks the warm-up of a training that is to begin.

        Raises:
            ValueError: It would outlast the training, as it could in older searches.
        """
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"recipe.warmup_epochs must be at most recipe.epochs={text_of(self.epochs)}, got "
                f"{text_of(self.warmup_epochs)}; add recipe.warmup_epochs=0 or more recipe.epochs"
            )

    def _check_resized_crop(self, least: float, most: float) -> None:
        if least > most:
            raise ValueError(
                "recipe.resized_crop must be two parts of the area, the smaller first, got "
                f"[{least:g},{most:g}]; add recipe.resized_crop=[{most:g},{least:g}]"
            )
        if self.crop:
            raise ValueError(
                "recipe.crop must be 0 with recipe.resized_crop, which crops too, got "
                f"{self.crop:g}; add recipe.crop=0 or recipe.resized_crop=null"
            )

    @property
    def is_open(self) -> bool:
        """True if the check has still to settle the learning rate."""
        return self.learning_rate == "auto"

    @property
    def rate(self) -> float:
        """The learning rate; while that is open, the optimizer's from which the check starts."""
        is_text = isinstance(self.learning_rate, str)
        return FIRST_RATES[self.optimizer] if is_text else float(self.learning_rate)

    @property
    def is_cropped(self) -> bool:
        """True if training images are parts of the native ones."""
        return self.crop > 0 or self.resized_crop is not None

    @property
    def is_mixed(self) -> bool:
        """True if training images are mixed with others, and their labels too."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def augmentation(self) -> dict[str, Any]:
        """The options that change training images, by name, as far as they do, with their values.

        In the order of `AUGMENTATION`.
        """
        defaults = self._defaults()
        values = {name: getattr(self, name) for name in AUGMENTATION}
        return {name: value for name, value in values.items() if value != defaults[name]}

    @property
    def is_augmented(self) -> bool:
        """True if training images are changed."""
        return bool(self.augmentation)

    @property
    def said(self) -> str:
        """Its options as text, without those that it does not take or that change nothing."""
        others = (one for name, one in OWN_OPTIONS.items() if name != self.optimizer)
        unused = {*sum(others, ())} | {*AUGMENTATION} - {*self.augmentation}
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return ", ".join(
            f"{name} {text_of(value)}"
            for name, value in values.items()
            if name not in unused and value is not None
        )

    def without_augmentation(self) -> "Recipe":
        """The same recipe with training images as they are."""
        defaults = self._defaults()
        return replace(self, **{name: defaults[name] for name in AUGMENTATION})

    def _defaults(self) -> dict[str, Any]:
        return {one.name: one.default for one in fields(self)}

    def stretched(self, factor: float) -> "Recipe":
        """The same schedule with warm-up, over ``factor`` times the epochs."""
        return replace(self, epochs=self.epochs * factor, warmup_epochs=self.warmup_epochs * factor)

    def num_steps(self, steps_per_epoch: int) -> int:
        """Steps of a whole training."""
        return max(1, round(self.epochs * steps_per_epoch))


def text_of(value: object) -> str:
    """A recipe's value as it is written on the command line."""
    if isinstance(value, tuple):
        return f"[{','.join(map(text_of, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value).removesuffix(".0")


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The rate of a step counted from 0: linear warm-up, then the recipe's schedule."""
    warmup = recipe.warmup_epochs * steps_per_epoch
    if step < warmup:
        return recipe.rate * (step + 1) / (warmup + 1)
    remaining = max(1.0, recipe.num_steps(steps_per_epoch) - warmup)
    if recipe.schedule == "constant":
        return recipe.rate
    if recipe.schedule == "linear":
        return recipe.rate * (1 - (step - warmup) / remaining)
    return recipe.rate * (1 + math.cos(math.pi * (step - warmup) / remaining)) / 2
