"""Options of the commands; an experiment's own are in `Experiment`."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from scaling_search.answer.stopping import Limits
from scaling_search.core.part import part
from scaling_search.core.protocols import Executor
from scaling_search.core.scaling import Coefficients
from scaling_search.experiment.experiment import Experiment

Family = Literal["compound", "depth", "width", "resolution", "paper"]
Factor = Annotated[float, Field(ge=1, le=10)]
Triple = Annotated[tuple[Factor, Factor, Factor], Strict(strict=False)]
"""Alpha, beta and gamma; one below 1 would shrink the network."""


@part
class Scale:
    """Families of networks over phi.

    Attributes:
        coefficients: Coefficients of the compound family, [alpha, beta, gamma]; None for the
            rule's.
        families: Some of compound, depth, width, resolution, paper.
        phis: Compound coefficients; the cost is 2**phi times the base network's.
        num_seeds: Trainings of each member; None for the experiment's number, rounded up.
        tolerance: Half the width of the band around each cost, a fraction of it; None for the
            experiment's own.
    """

    coefficients: Triple | None = None
    families: Annotated[tuple[Family, ...], Strict(strict=False)] = (
        *("compound", "depth", "width", "resolution", "paper"),
    )
    phis: Annotated[tuple[Annotated[int, Field(ge=0, le=8)], ...], Strict(strict=False)] = (
        *(0, 1, 2, 3),
    )
    num_seeds: Annotated[int, Field(ge=1)] | None = None
    tolerance: Annotated[float, Field(gt=0, lt=1)] | None = None


@part
class Confirm:
    """New trainings of the network and of two others, and their comparison on the test split.

    Attributes:
        num_seeds: New trainings of each network; None for as many as `Decide.delta` needs.
        force: True to look at the test split although it was looked at before.
    """

    num_seeds: Annotated[int, Field(ge=2)] | None = None
    force: bool = False


@part
class Fairness:
    """Checks of hyperparameters that are equal for all networks but may favour some.

    Attributes:
        learning_rate: True to train at half and at twice the rate.
        length: True to train half and twice as long.
        num_seeds: Trainings of each network at each setting.
    """

    learning_rate: bool = False
    length: bool = False
    num_seeds: Annotated[int, Field(ge=2)] = 2


@part
class Transfer:
    """Larger sizes at which the answer is checked.

    Attributes:
        phis: The larger costs are 2**phi times the base network's.
        num_seeds: Trainings of each of their networks.
    """

    phis: Annotated[tuple[Annotated[int, Field(ge=1, le=8)], ...], Strict(strict=False)] = (2, 3)
    num_seeds: Annotated[int, Field(ge=1)] = 1

    def __post_init__(self) -> None:
        """Checks that there is a size."""
        if not self.phis or len(set(self.phis)) < len(self.phis):
            raise ValueError(
                f"transfer.phis must be different sizes, got {list(self.phis)}; [2, 3] are four "
                "and eight times the base network's cost"
            )


@part
class Report:
    """Contents of a report.

    Attributes:
        most: Rows of the table in the terminal.
        published: True to draw EfficientNet-B0 to B7's published ImageNet accuracies too.
    """

    most: Annotated[int, Field(ge=1)] = 10
    published: bool = False


@part
class Audit:
    """A table of scaled networks and the rule that it is audited against.

    Attributes:
        table: A CSV file of multipliers; None for what was published.
        coefficients: The rule, [alpha, beta, gamma]; None for the paper's with its own table, else
            for what the table's phi says.
        write: True to keep the table and a figure in the run's folder.
    """

    table: str | None = None
    coefficients: Triple | None = None
    write: bool = False


@part
class Export:
    """Files to write beside weights and the model card.

    Attributes:
        programs: True to write each network as a program of `torch.export`, compared with it.
        onnx: True to write each network as ONNX too, compared with PyTorch.
        train: True to train networks again whose weights were not kept.
    """

    programs: bool = True
    onnx: bool = False
    train: bool = False


@part
class Options:
    """Everything that a command line sets.

    Attributes:
        experiment: The choices that decide outcomes.
        out: The run's folder.
        storage: SQLAlchemy URL or path ending in ``.log``; None for ``study.db`` in the folder.
        executor: Runs trainings; None where a search from Python could not keep its own.
        limits: Limits at which a command stops early.
        scale: Options of ``scale``; the others likewise.
        keep_weights: True if a training leaves its weights in the run's folder.
        price_only: True if commands that train only print the price.
        timed: True if a plan and a search's price time a few steps while nothing has been trained.
    """

    experiment: Experiment
    out: Annotated[str, Field(min_length=1)]
    executor: Executor | None = None
    storage: str | None = None
    limits: Limits = Limits()
    scale: Scale = Scale()
    confirm: Confirm = Confirm()
    fairness: Fairness = Fairness()
    transfer: Transfer = Transfer()
    report: Report = Report()
    audit: Audit = Audit()
    export: Export = Export()
    keep_weights: bool = False
    price_only: bool = False
    timed: bool = True


def triple(given: tuple[float, float, float] | None) -> Coefficients | None:
    """Given coefficients, if any."""
    return None if given is None else Coefficients(*given)
