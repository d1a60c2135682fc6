"""Every choice that decides an outcome, as one value: the root of the configuration."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import Field, Strict

from scaling_search.planning.budget import Budget, Caps, Track, untracked
from scaling_search.planning.candidates import Candidate, Plan
from scaling_search.planning.room import check_sizes
from scaling_search.protocols import (
    Architecture,
    Cost,
    Dataset,
    Executor,
    SampledCost,
    Sampler,
    part,
)
from scaling_search.record.study import Objective
from scaling_search.scaling import Coefficients, phi_of
from scaling_search.training.recipe import Recipe
from scaling_search.training.trial import Trial

DECIDING = ("name", "objective", "base_network", "candidates", "cost", "caps", "dataset", "recipe")
"""Keys of the choices that decide outcomes; all others may change between two commands.

Of the dataset only its fingerprint decides, not where it lies.
"""


@runtime_checkable
class Candidates(Protocol):
    """A way to find networks of the target's cost."""

    @property
    def target(self) -> float:
        """Cost over the base network's."""

    @property
    def tolerance(self) -> float:
        """Half the width of the band around the target, a fraction of it."""

    def plan(self, budget: Budget) -> Plan:
        """What there is to train."""


@part
class Limits:
    """When to stop before all is done.

    Attributes:
        trainings: End when the record holds so many; None for no limit.
        hours: Hand out nothing more after so many of a command; None for no limit.
        gpu_hours: Hand out nothing more once the record's trainings took so many hours of a
            device, be it a GPU or a machine's CPU; None for no limit.
        region: End once the region of the best split is at most this part of what was searched;
            None to train all.
        failed_share: Give up once more than this part of the trainings that ended, and of five at
            least, have failed; 1 goes on whatever happens.
    """

    trainings: Annotated[int, Field(ge=1)] | None
    hours: Annotated[float, Field(gt=0)] | None
    gpu_hours: Annotated[float, Field(gt=0)] | None
    region: Annotated[float, Field(gt=0, lt=1)] | None
    failed_share: Annotated[float, Field(ge=0, le=1)]


@part
class Scale:
    """Which families to train, and how far.

    Attributes:
        coefficients: Those of the compound family, [alpha, beta, gamma]; None for those found.
        families: Some of compound, depth, width, resolution, paper.
        phis: Compound coefficients; the cost is 2**phi times the base network's.
        num_seeds: Trainings of each member.
        tolerance: Half the width of the band around each cost, a fraction of it.
    """

    coefficients: Annotated[tuple[float, float, float], Strict(strict=False)] | None
    families: Annotated[tuple[str, ...], Strict(strict=False)]
    phis: Annotated[tuple[Annotated[int, Field(ge=0, le=8)], ...], Strict(strict=False)]
    num_seeds: Annotated[int, Field(ge=1)]
    tolerance: Annotated[float, Field(gt=0, lt=1)]

    def __post_init__(self) -> None:
        """Checks the names and the coefficients."""
        if unknown := set(self.families) - set(FAMILIES):
            raise ValueError(
                f"scale.families must be of {', '.join(FAMILIES)}, got {sorted(unknown)}"
            )
        if self.coefficients is not None and min(self.coefficients) < 1:
            raise ValueError(
                f"scale.coefficients must be at least 1 each, got {list(self.coefficients)}; "
                "a coefficient below 1 would shrink the network"
            )

    @property
    def given(self) -> Coefficients | None:
        """The given coefficients, if any."""
        return None if self.coefficients is None else Coefficients(*self.coefficients)


FAMILIES = ("compound", "depth", "width", "resolution", "paper")


@part
class Decide:
    """What makes a difference.

    Attributes:
        delta: The smallest difference of the objective that matters; None for what 20 % more
            compute is worth by the fit.
        seed_sd: Standard deviation of the objective over seeds, for plans; None for what the
            run's folder has measured.
    """

    delta: Annotated[float, Field(gt=0)] | None
    seed_sd: Annotated[float, Field(gt=0)] | None


@part
class Confirm:
    """How the winner is trained anew and tested.

    Attributes:
        num_seeds: New trainings of each network; None for as many as `Decide.delta` needs.
        force: Look at the test split although it was looked at before.
    """

    num_seeds: Annotated[int, Field(ge=2)] | None
    force: bool


@part
class Fairness:
    """Which choices, equal for all networks, are checked for favouring some.

    Attributes:
        learning_rate: Whether to train at half and at twice the rate.
        length: Whether to train half and twice as long.
        num_seeds: Trainings of each network at each setting.
    """

    learning_rate: bool
    length: bool
    num_seeds: Annotated[int, Field(ge=2)]


@part
class Transfer:
    """Whether the answer holds for larger networks.

    Attributes:
        phis: The larger costs are 2**phi times the base network's.
        num_seeds: Trainings of each of their networks.
    """

    phis: Annotated[tuple[Annotated[int, Field(ge=1, le=8)], ...], Strict(strict=False)]
    num_seeds: Annotated[int, Field(ge=1)]

    def __post_init__(self) -> None:
        """Checks that there is a size."""
        if not self.phis or len(set(self.phis)) < len(self.phis):
            raise ValueError(
                f"transfer.phis must be different sizes, got {list(self.phis)}; [2, 3] are four "
                "and eight times the base network's cost"
            )


@part
class Report:
    """What a report shows.

    Attributes:
        most: Rows of the table in the terminal.
        published: Whether to draw EfficientNet-B0 to B7's published ImageNet accuracies too.
    """

    most: Annotated[int, Field(ge=1)]
    published: bool


@part
class Audit:
    """Which table of scaled networks is audited, against which rule.

    Attributes:
        table: A CSV file of multipliers; None for what was published.
        coefficients: The rule, [alpha, beta, gamma]; None for the paper's with its own table, else
            for what the table's phi says.
        write: Whether to keep the table and a figure in the run's folder.
    """

    table: str | None
    coefficients: (
        Annotated[
            tuple[
                Annotated[float, Field(ge=1, le=10)],
                Annotated[float, Field(ge=1, le=10)],
                Annotated[float, Field(ge=1, le=10)],
            ],
            Strict(strict=False),
        ]
        | None
    )
    write: bool

    @property
    def given(self) -> Coefficients | None:
        """The given coefficients, if any."""
        return None if self.coefficients is None else Coefficients(*self.coefficients)


@part
class Export:
    """Files to write beside weights and the model card.

    Attributes:
        programs: Whether to write each network as a program of `torch.export`, compared with it.
        onnx: Whether to write each network as ONNX too, compared with PyTorch.
        train: Whether to train networks again whose weights were not kept.
    """

    programs: bool
    onnx: bool
    train: bool


@part
class Experiment:
    """One search.

    Attributes:
        name: Of the experiment, and of its study.
        out: The run's folder.
        storage: SQLAlchemy URL or path ending in ``.log``; None for ``study.db`` in the folder.
        objective: The metric that decides: mean validation cross-entropy or accuracy.
        num_seeds: Trainings of each network; seeds are 0, 1, 2, ...
        base_network: The network whose multipliers are 1.
        candidates: How networks of the target's cost are found.
        cost: What is held equal.
        caps: What no network of the search may exceed.
        dataset: What is trained on; None where there is only to plan.
        recipe: Training hyperparameters.
        sampler: Chooses the next training.
        executor: Runs trainings.
        limits: When to stop early.
        scale: Options of the families over phi.
        decide: What makes a difference.
        confirm: Options of the winner's new trainings.
        fairness: Which choices are checked for favouring some networks.
        transfer: Options of the larger networks.
        report: Options of the report.
        audit: Options of tables of scaled networks.
        export: Options of what is taken away.
        keep_weights: Whether a training leaves its weights in the run's folder.
        price_only: Whether commands that train only say what it would take.
        timed: Whether a plan and a search's price time a few steps while nothing has been trained.
    """

    name: Annotated[str, Field(min_length=1)]
    out: Annotated[str, Field(min_length=1)]
    storage: str | None
    objective: Objective
    num_seeds: Annotated[int, Field(ge=1)]
    base_network: Architecture
    candidates: Candidates
    cost: Cost | SampledCost
    caps: Caps
    dataset: Dataset | None
    recipe: Recipe
    sampler: Sampler
    executor: Executor
    limits: Limits
    scale: Scale
    decide: Decide
    confirm: Confirm
    fairness: Fairness
    transfer: Transfer
    report: Report
    audit: Audit
    export: Export
    keep_weights: bool
    price_only: bool
    timed: bool

    @property
    def samples_costs(self) -> bool:
        """Whether networks must run before it is known what they cost."""
        return isinstance(self.cost, SampledCost) or bool(self.caps.sampled)

    def budget(self, state: Mapping[str, Any] | None = None, track: Track = untracked) -> Budget:
        """What is scaled and what it may cost, with what is known of it from an earlier one."""
        return Budget(self.base_network, self.cost, self.caps, state=state, track=track)

    def plan(self, budget: Budget | None = None) -> Plan:
        """The networks to train, their costs in closed form or, where they must be, measured.

        What is measured for a first plan teaches what other networks cost, by which the second
        one finds more of them in the band.

        Raises:
            ValueError: No network lies in the band, or the base network's images are larger than
                the data's.
        """
        self._check_sizes()
        budget = self.budget() if budget is None else budget
        phi = phi_of(self.candidates.target)
        if budget.held is None or budget.is_learned(phi):
            return self.candidates.plan(budget)
        with suppress(ValueError):  # by a poor prediction none may be left
            self.candidates.plan(budget)
        budget.held.learn(phi)
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

    def ready_dataset(self) -> Dataset:
        """The dataset, there and fitting the base network.

        Raises:
            ValueError: There is none, or it does not fit.
            RuntimeError: Its files are missing or damaged.
        """
        if self.dataset is None:
            raise ValueError(
                "dataset must be named to train, got null; add for instance dataset=fashion_mnist"
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

    def trials(self, plan: Plan) -> list[Trial]:
        """All trainings of a plan, the base network's too, seed by seed."""
        return [
            self.trial(candidate, seed)
            for seed in range(self.num_seeds)
            for candidate in (plan.base, *plan.candidates)
        ]

    def trial(self, candidate: Candidate, seed: int, target: float | None = None) -> Trial:
        """One training by this experiment's recipe on its data.

        At equal training FLOPs a network trains for as many epochs as make up for what its cost
        is off the target, the search's own if no other is given.
        """
        assert self.dataset is not None
        recipe = self.recipe
        if recipe.equal == "training_flops" and candidate.number:
            target = self.candidates.target if target is None else target
            recipe = recipe.stretched(target / candidate.flops_ratio)
        is_kept = recipe.checkpoint_minutes is not None
        checkpoints = Path(self.out).resolve() / "checkpoints" if is_kept else None
        weights = Path(self.out).resolve() / "weights" if self.keep_weights else None
        return Trial(
            candidate, seed, recipe, self.dataset, checkpoints=checkpoints, weights=weights
        )
