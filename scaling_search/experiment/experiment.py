"""One search as a value: all choices that decide its outcome."""

import importlib
import inspect
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import Field

from scaling_search.core.candidate import Candidate
from scaling_search.core.dataset import Dataset
from scaling_search.core.metric import Direction, Metric, metric_of
from scaling_search.core.network import Architecture
from scaling_search.core.own_training import OwnCommand, OwnTraining
from scaling_search.core.part import part
from scaling_search.core.protocols import Cost, SampledCost, Sampler
from scaling_search.core.recipe import FIRST_RATES, MOST_RATES, Recipe
from scaling_search.core.scaling import phi_of
from scaling_search.core.trial import Trial
from scaling_search.planning.budget import Budget, Caps
from scaling_search.planning.candidates import Plan
from scaling_search.planning.room import check_sizes

MOST_SEEDS = 10_000
"""Most trainings of a network; a plan lists them all."""


@runtime_checkable
class Candidates(Protocol):
    """The choice of networks of the target's cost."""

    @property
    def target(self) -> float:
        """Cost over the base network's."""

    @property
    def tolerance(self) -> float:
        """Largest relative difference from the target."""

    def plan(self, budget: Budget) -> Plan:
        """The networks to train."""


@part
class Decide:
    """The difference that matters.

    Attributes:
        delta: The smallest difference of the objective that matters; None for the gain of 20 %
            more compute by the fit.
        seed_sd: Standard deviation of the objective between seeds, for plans; None for the value
            measured in the run's folder.
    """

    delta: Annotated[float, Field(gt=0)] | None = None
    seed_sd: Annotated[float, Field(gt=0)] | None = None


def _default(package: str, name: str) -> Any:
    """A field whose default is a part of this package, imported late: it takes torch."""

    def build() -> Any:
        return getattr(importlib.import_module(f"scaling_search.{package}"), name)()

    return Field(default_factory=build)


@part
class Experiment:
    """One search: base network, data, cost, recipe, candidates and sampler.

    Attributes:
        name: Name of the experiment and of its study.
        objective: The metric that decides: ``val_loss`` (mean cross-entropy), ``val_accuracy``, or
            one that a training of your own returns.
        objective_direction: ``min`` or ``max`` for a metric of your own; None for the other two.
        num_seeds: Trainings of each network, with seeds 0, 1, 2, ...; 1.25 adds a second seed for
            the first quarter of the plan's networks, which are spread over the triangle of shares.
        base_network: The network whose multipliers are 1.
        candidates: Chooses the networks of the target's cost.
        cost: The quantity that is held equal.
        caps: Limits that no network of the search may exceed.
        dataset: Training data; None for plans alone.
        recipe: Hyperparameters of this package's training.
        training: Function or command of your own that trains; None for this package's training.
        sampler: Chooses the next training.
        decide: The difference that matters.
    """

    name: Annotated[str, Field(min_length=1)] = "default"
    objective: str = "val_loss"
    objective_direction: Direction | None = None
    num_seeds: Annotated[float | int, Field(ge=1, le=MOST_SEEDS)] = 1.25
    base_network: Architecture = _default("base_networks", "small_efficientnet")
    candidates: Candidates = _default("candidates", "Buildable")
    cost: Cost | SampledCost = _default("costs", "Flops")
    caps: Caps = Field(default_factory=Caps)
    dataset: Dataset | None = _default("datasets", "FashionMnistSmall")
    recipe: Recipe = Field(default_factory=Recipe)
    training: OwnTraining | OwnCommand | None = None
    sampler: Sampler = _default("samplers", "Grid")
    decide: Decide = Decide()

    def __post_init__(self) -> None:
        """Checks metric and class weights, and the parameters of the sampler's `choose`."""
        metric = self.metric
        weights, dataset = self.recipe.class_weights, self.dataset
        number = None if dataset is None else dataset.num_classes
        if isinstance(weights, tuple) and number is not None and len(weights) != number:
            raise ValueError(
                f"recipe.class_weights must be {number} numbers, one for each class, "
                f"got {len(weights)}; add recipe.class_weights=balanced or null"
            )
        most = MOST_RATES[self.recipe.optimizer]
        if self.recipe.rate > most:
            raise ValueError(
                f"recipe.learning_rate must be at most {most:g} with recipe.optimizer="
                f"{self.recipe.optimizer}, got {self.recipe.rate:g}; take "
                f"recipe={self.recipe.optimizer} or add recipe.learning_rate="
                f"{FIRST_RATES[self.recipe.optimizer]:g}"
            )
        try:
            inspect.signature(self.sampler.choose).bind([], [], [], metric)
        except TypeError as error:
            raise ValueError(
                "sampler.choose must take remaining, running, finished and objective, got "
                f"{inspect.signature(self.sampler.choose)}"
            ) from error

    @property
    def equal(self) -> str:
        """The quantity that is equal for all trainings: `Recipe.equal`, or ``own``."""
        return self.recipe.equal if self.training is None else "own"

    @cached_property
    def metric(self) -> Metric:
        """The metric that decides.

        Raises:
            ValueError: Its name or direction is not possible.
        """
        return metric_of(self.objective, self.objective_direction)

    def budget(self, state: Mapping[str, Any] | None = None) -> Budget:
        """The base network, its cost and caps; ``state`` has the costs of an earlier budget."""
        return Budget(self.base_network, self.cost, self.caps, state=state)

    def plan(self, budget: Budget | None = None) -> Plan:
        """The networks to train, with their costs; measures some where a cost is measured.

        A cost that is measured is predicted from a few networks. A first plan measures the networks
        that it would select; the cost model is fitted again to them for the second.

        Args:
            budget: Budget with earlier measurements; None to begin.

        Raises:
            ValueError: No network lies in the band, or the base network's images are larger than
                the data's.
        """
        self._check_sizes()
        budget = budget or self.budget()
        model, phi = budget.cost_model, phi_of(self.candidates.target)
        is_predictable = model is None or model.is_fitted(phi)
        budget.calibrate(phi)
        if model is not None and not is_predictable:
            with suppress(ValueError):  # a poor prediction may leave no network
                self.candidates.plan(budget)
            model.refit(phi)
        return self.candidates.plan(budget)

    def _check_sizes(self) -> None:
        check_sizes(
            None if self.dataset is None else self.dataset.resolution,
            self.base_network.resolution,
            getattr(self.candidates, "max_resolution", None),
            least=getattr(self.base_network, "least_resolution", 1),
            target=self.candidates.target,
            tolerance=self.candidates.tolerance,
            divisor=getattr(self.base_network, "resolution_divisor", 1),
        )

    def ready_dataset(self) -> Dataset | None:
        """The dataset, after a check that it is there and fits the base network.

        None where a training of the user's own brings its data.

        Raises:
            ValueError: The experiment has none, it does not fit, or nothing can train.
            RuntimeError: Its files are missing or damaged.
        """
        self._check_training()
        if self.dataset is None and self.training is not None:
            return None
        if self.dataset is None:
            raise ValueError(
                "dataset must be given for training, got null; add for instance "
                "dataset=fashion_mnist"
            )
        for key in ("num_classes", "in_channels"):
            wanted, got = getattr(self.dataset, key), getattr(self.base_network, key)
            if wanted != got:
                raise ValueError(
                    f"base_network.{key} must be the dataset's {wanted}, got {got}; "
                    f"add base_network.{key}={wanted}"
                )
        self.dataset.check()
        return self.dataset

    def _check_training(self) -> None:
        """Checks a training of the user's own.

        Raises:
            ValueError: It cannot be called, or the recipe asks what only this package's can do.
        """
        if self.training is None:
            return
        self.training.check()
        for option in ("learning_rate", "equal", "start"):
            got = getattr(self.recipe, option)
            if got in {"auto", "training_flops"} or (option == "start" and got is not None):
                raise ValueError(
                    f"recipe.{option} must be left out with a training of your own, which has a "
                    f"recipe of its own, got {got!r}; give options of training.function or in "
                    "training.command"
                )
        if isinstance(self.training, OwnCommand) and self.dataset is not None:
            raise ValueError(
                f"dataset must be null with training=command, which reads its own data, got "
                f"{type(self.dataset).__name__}; add dataset=null "
                f"base_network.num_classes={self.base_network.num_classes} "
                f"base_network.in_channels={self.base_network.in_channels}"
            )

    @property
    def most_seeds(self) -> int:
        """Number of seeds of the base network and of the plan's first network."""
        return math.ceil(self.num_seeds)

    def seed_counts(self, num_networks: int) -> list[int]:
        """Number of seeds of each of a plan's networks, the base network left out."""
        for_all = math.floor(self.num_seeds)
        # What a float adds to the product of a fraction and a number is no further network.
        num_more = math.ceil(round((self.num_seeds - for_all) * num_networks, 6))
        return [for_all + (place < num_more) for place in range(num_networks)]

    def trials(self, networks: Iterable[Candidate]) -> list[Trial]:
        """All trainings of a plan's networks, seed by seed; the base network is the first."""
        base, *others = networks
        counts = self.seed_counts(len(others))
        return [
            self.trial(one, seed)
            for seed in range(self.most_seeds)
            for one, count in zip((base, *others), (self.most_seeds, *counts), strict=True)
            if seed < count
        ]

    def trial(self, candidate: Candidate, seed: int, target: float | None = None) -> Trial:
        """One training by this experiment's recipe on its data.

        At equal training FLOPs a network trains for as many epochs as make up for what its cost
        is off the target, the search's own if no other is given. A learning rate that is still
        open is the one from which the check starts.
        """
        if self.training is not None:
            return Trial(
                candidate,
                seed,
                Recipe(),
                self.dataset,
                training=self.training,
                objective=self.metric,
            )
        recipe = self._trial_recipe
        if recipe.equal == "training_flops" and candidate.number:
            target = self.candidates.target if target is None else target
            recipe = recipe.stretched(target / candidate.flops_ratio)
        return Trial(candidate, seed, recipe, self.dataset, objective=self.metric)

    @cached_property
    def _trial_recipe(self) -> Recipe:
        """The recipe of all trainings, one object however many they are."""
        recipe = replace(self.recipe, learning_rate=self.recipe.rate)
        if recipe.start is not None:  # a worker may have another working folder
            recipe = replace(recipe, start=str(Path(recipe.start).absolute()))
        return recipe


CHOICES = tuple(field.name for field in fields(Experiment))
"""Keys of an experiment."""

FREE = ("num_seeds", "sampler", "decide")
"""Those of them that may change between two commands on a run's folder.

Of the dataset only its fingerprint decides, not where it lies.
"""
