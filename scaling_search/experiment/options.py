"""Options of the commands; those of the search are in `Experiment`."""

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
        coefficients: Coefficients of the compound family, [alpha, beta, gamma]; None for those of
            the rule.
        families: Names of families: compound, depth, width, resolution, paper.
        phis: Compound coefficients phi; the cost is 2**phi times the base network's.
        num_seeds: Trainings of each member; None for the experiment's number, rounded up.
        tolerance: Largest relative difference from each cost; None for the experiment's own.
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
    """Fresh trainings of the network and two others, compared on the test split.

    Attributes:
        num_seeds: Fresh trainings of each network; None for the number that detects
            `Decide.delta` with probability 0.8.
        force: True to use the test split again.
    """

    num_seeds: Annotated[int, Field(ge=2)] | None = None
    force: bool = False


@part
class Fairness:
    """Checks whether the learning rate or the length of training favours some networks.

    Attributes:
        learning_rate: True to train at half and twice the learning rate.
        length: True to train for half and twice the length.
        num_seeds: Trainings of each network at each setting.
    """

    learning_rate: bool = False
    length: bool = False
    num_seeds: Annotated[int, Field(ge=2)] = 2


@part
class Transfer:
    """Larger sizes at which the rule is checked.

    Attributes:
        phis: Compound coefficients phi; the costs are 2**phi times the base network's.
        num_seeds: Trainings of each network.
    """

    phis: Annotated[tuple[Annotated[int, Field(ge=1, le=8)], ...], Strict(strict=False)] = (2, 3)
    num_seeds: Annotated[int, Field(ge=1)] = 1

    def __post_init__(self) -> None:
        """Checks that the sizes differ."""
        if not self.phis or len(set(self.phis)) < len(self.phis):
            raise ValueError(
                f"transfer.phis must be different sizes, got {list(self.phis)}; [2, 3] are four "
                "and eight times the base network's cost"
            )


@part
class Report:
    """Contents of a report, and its folder.

    Attributes:
        most: Rows of the table in the terminal.
        to: Folder for tables, figures and ``report.html``; None for the run's.
        published: True for a further figure: published ImageNet accuracies of EfficientNet.
    """

    most: Annotated[int, Field(ge=1)] = 10
    to: Annotated[str, Field(min_length=1)] | None = None
    published: bool = False


@part
class Compare:
    """Searches to compare.

    Attributes:
        runs: Their folders.
    """

    runs: Annotated[tuple[str, ...], Strict(strict=False)] = ()


@part
class Audit:
    """A table of scaled networks and the rule that it is compared with.

    Attributes:
        table: A CSV file of multipliers; None for the published table.
        coefficients: The rule, [alpha, beta, gamma]; None for the paper's with its own table, else
            for a fit to the table's phi.
        write: True to write the table and a figure into the run's folder.
    """

    table: str | None = None
    coefficients: Triple | None = None
    write: bool = False


@part
class Export:
    """Files to write beside weights and the model card.

    Attributes:
        programs: True for a program of `torch.export` of each network, checked against it.
        onnx: True for an ONNX file of each network, checked against PyTorch.
        train: True to train the networks without weights again.
    """

    programs: bool = True
    onnx: bool = False
    train: bool = False


Stage = Literal["plan", "search", "confirm", "scale", "report"]


@part
class Stages:
    """Stages of the way from data to an answer.

    Attributes:
        stages: Those to run, in this order; each is the command of its name.
    """

    stages: Annotated[tuple[Stage, ...], Strict(strict=False)] = (
        *("plan", "search", "confirm", "scale", "report"),
    )


@part
class Options:
    """All options of the command line.

    Attributes:
        experiment: The choices that decide outcomes.
        out: The run's folder.
        storage: SQLAlchemy URL or path ending in ``.log``; None for ``study.db`` in the folder.
        executor: Runs trainings; None if a search from Python did not record it.
        limits: Limits at which a command stops early.
        hours: Time of the command ``run``, into which its sizes fit; None for the experiment's own.
        run: Options of ``run``; the others likewise.
        keep_weights: True if a training leaves its weights in the run's folder.
        price_only: True if commands that train only print the price.
        timed: True to estimate the price from a few timed steps while nothing is trained.
    """

    experiment: Experiment
    out: Annotated[str, Field(min_length=1)]
    executor: Executor | None = None
    storage: str | None = None
    limits: Limits = Limits()
    hours: Annotated[float, Field(gt=0)] | None = None
    run: Stages = Stages()
    scale: Scale = Scale()
    confirm: Confirm = Confirm()
    fairness: Fairness = Fairness()
    transfer: Transfer = Transfer()
    report: Report = Report()
    compare: Compare = Compare()
    audit: Audit = Audit()
    export: Export = Export()
    keep_weights: bool = False
    price_only: bool = False
    timed: bool = True


def triple(given: tuple[float, float, float] | None) -> Coefficients | None:
    """The given coefficients; None if none are given."""
    return None if given is None else Coefficients(*given)
