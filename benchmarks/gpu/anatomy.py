"""Anatomy of trainings on a CUDA device: what a start, a step and an evaluation take, and why.

    python benchmarks/gpu/anatomy.py [--parts start,step,streams,kernels,evaluation,whole]
        [--networks efficientnet_small:64,efficientnet_medium:256] [--device cuda:0]
        [--seconds 1.5] [--streams 1,2,4,8,16] [dataset.num_train=1000 ...]

The parts, each for every network and batch size:

- start: the first steps of a network that the process has not seen, kernels chosen by rule, then by
  trying them, each at another resolution;
- step: as it is written and replayed, by precision, memory format and choice of kernels;
- streams: recorded steps of K trainings on K streams of one process;
- kernels: the kernels of a replayed step, those that take longest first;
- evaluation: of the validation split, as it is written and replayed;
- whole: trainings of one epoch, one after another as a worker does them.

Prints a line for each measurement as it comes, at last the fastest step of each network. A part
that fails does not end the others. streams and kernels need CUDA; the others run on a CPU too.
"""

import argparse
import contextlib
import gc
import itertools
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.composed import experiment_of
from benchmarks.rows import machine, today
from scaling_search.core.recipe import Recipe
from scaling_search.experiment.experiment import Experiment
from scaling_search.training.batches import Loaded, load
from scaling_search.training.cuda_graphs import NUM_WARM_UP
from scaling_search.training.device_sharing import release_memory
from scaling_search.training.engine import settings, train_trial
from scaling_search.training.evaluation import Evaluation
from scaling_search.training.steps import Steps
from scaling_search.training.timing import wait_for

MANY = 1000.0
"""Epochs of the schedule: no measurement reaches its end."""

RECORDED_AFTER = NUM_WARM_UP + 2
"""Steps after which all others are replayed, where steps are recorded."""

UNSEEN_SIZES = (24, 26)
"""Resolutions that no other part trains at."""

PROFILED_STEPS = 10
SHOWN_KERNELS = 15


@dataclass(frozen=True)
class Setup:
    """The measurements and their place.

    Attributes:
        network: Name in conf/base_network.
        batch_size: Images in a step.
        device: ``cuda:0``, or ``cpu`` for a rehearsal.
        seconds: Approximate time of a repeated measurement.
        streams: Numbers of trainings at a time; others are compared with the first.
        overrides: Options of the experiment, as on the command line of scaling-search.
    """

    network: str
    batch_size: int
    device: str
    seconds: float
    streams: tuple[int, ...]
    overrides: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.network} {self.batch_size}"

    def experiment(self, *more: str) -> Experiment:
        """The default experiment with this network and batch size."""
        chosen = (f"base_network={self.network}", f"recipe.batch_size={self.batch_size}")
        return experiment_of(*chosen, *self.overrides, *more)

    def show(self, what: str, **numbers: float | str) -> None:
        """Prints one measurement."""
        texts = (f"{x:.4g}" if isinstance(x, float) else str(x) for x in numbers.values())
        found = "  ".join(f"{name} {text}" for name, text in zip(numbers, texts, strict=True))
        print(f"{self}, {what}:  {found}", flush=True)

    def once(self, act: Callable[[], object], times: int = 1) -> float:
        """Seconds until the device has done something, once or several times in a row."""
        wait_for(self.device)
        started = time.perf_counter()
        for _ in range(times):
            act()
        wait_for(self.device)
        return time.perf_counter() - started

    def mean_ms(self, act: Callable[[], object], part: float = 1.0) -> float:
        """Milliseconds of what is done again and again for a part of the seconds."""
        at_once = 20 if self.device.startswith("cuda") else 1
        self.once(act)
        number, seconds = 0, 0.0
        while seconds < part * self.seconds:
            seconds += self.once(act, at_once)
            number += at_once
        return 1000 * seconds / number


def loaded(experiment: Experiment, setup: Setup) -> Loaded:
    """The data at the base network's size."""
    assert experiment.dataset is not None
    size = experiment.base_network.resolution
    return load(experiment.dataset, size, setup.device, crops=experiment.recipe.is_cropped)


def steps_of(experiment: Experiment, recipe: Recipe, setup: Setup, seed: int = 0) -> Steps:
    """Steps of the base network without end."""
    torch.manual_seed(seed)
    network = experiment.base_network.build().to(setup.device).train()
    return Steps(network, loaded(experiment, setup), replace(recipe, epochs=MANY), seed=seed)


def start(setup: Setup) -> None:
    """The parts of the time before a training is at full speed."""
    for size, is_tried in zip(UNSEEN_SIZES, (False, True), strict=True):
        experiment = setup.experiment(f"base_network.resolution={size}")
        data = loaded(experiment, setup)
        with settings(experiment.recipe, setup.device):
            torch.backends.cudnn.benchmark = is_tried  # as before once the settings end
            seconds = first_seconds(experiment, data, setup)
        choice = "tried" if is_tried else "by rule"
        setup.show(f"first steps at {size} px, kernels {choice}, s", **seconds)


def first_seconds(experiment: Experiment, data: Loaded, setup: Setup) -> dict[str, float]:
    """Seconds of everything that is done for the first time."""
    started = time.perf_counter()
    steps = steps_of(experiment, experiment.recipe, setup)
    wait_for(setup.device)
    build = time.perf_counter() - started
    first, *_, before, recording = (setup.once(steps.advance) for _ in range(NUM_WARM_UP + 1))
    scores = partial(Evaluation(steps.evaluated, data, experiment.recipe).scores, data.splits.val)
    return {
        "build": build,
        "first_step": first,
        "step_before_recording": before,
        "recording": recording,
        "first_evaluation": setup.once(scores),
        "second_evaluation": setup.once(scores),
    }


def step(setup: Setup) -> str:
    """A step by precision, memory format and choice of kernels; says which is the fastest.

    Raises:
        RuntimeError: No step could be taken.
    """
    experiment = setup.experiment()
    found: dict[str, float] = {}
    # Deterministic ones last: a kernel that is not ends the recording, perhaps of later steps too.
    for deterministic, mixed, last in itertools.product(
        (False, True), (True, False), (True, False)
    ):
        recipe = replace(
            experiment.recipe,
            mixed_precision=mixed,
            channels_last=last,
            deterministic=deterministic,
        )
        name = f"mixed {mixed}, channels last {last}, deterministic {deterministic}"
        try:
            eager_ms, found[name] = eager_and_replayed(experiment, recipe, setup)
        except RuntimeError as error:
            setup.show(f"step, {name}", failed=str(error).partition("\n")[0])
        else:
            setup.show(f"step, {name}, ms", eager=eager_ms, replayed=found[name])
        free(setup)
    if not found:
        raise RuntimeError("a step must be possible, got failures alone")
    fastest = min(found, key=found.__getitem__)
    return f"{setup}: {fastest}: {found[fastest]:.4g} ms"


def eager_and_replayed(experiment: Experiment, recipe: Recipe, setup: Setup) -> tuple[float, float]:
    """Milliseconds of a step as it is written and replayed."""
    with settings(recipe, setup.device):
        eager = steps_of(experiment, replace(recipe, cuda_graph=False), setup)
        eager_ms = setup.mean_ms(eager.advance, 0.5)
        replayed = steps_of(experiment, recipe, setup)
        for _ in range(RECORDED_AFTER):
            replayed.advance()
        return eager_ms, setup.mean_ms(replayed.advance)


def streams(setup: Setup) -> None:
    """Steps of several trainings at a time, each on a stream of its own."""
    experiment = setup.experiment()
    lanes = [
        torch.cuda.Stream(setup.device)  # type: ignore[no-untyped-call]  # torch's
        for _ in range(max(setup.streams))
    ]
    trainings: list[Steps] = []
    with settings(experiment.recipe, setup.device):
        loaded(experiment, setup)
        wait_for(setup.device)
        for seed, lane in enumerate(lanes):
            with torch.cuda.stream(lane):
                trainings.append(steps_of(experiment, experiment.recipe, setup, seed))
                for _ in range(RECORDED_AFTER):
                    trainings[-1].advance()
        setup.show(f"{len(lanes)} trainings hold, MB", reserved=reserved_mb(setup))

        def turn(number: int) -> None:
            for steps, lane in zip(trainings[:number], lanes, strict=False):
                with torch.cuda.stream(lane):
                    steps.advance()

        one = 0.0
        for number in setup.streams:
            each = setup.mean_ms(partial(turn, number)) / number
            one = one or each
            setup.show(f"{number} on as many streams", ms_a_step=each, times=one / each)


def kernels(setup: Setup) -> None:
    """The kernels of a replayed step."""
    experiment = setup.experiment()
    with settings(experiment.recipe, setup.device):
        steps = steps_of(experiment, experiment.recipe, setup)
        for _ in range(RECORDED_AFTER):
            steps.advance()
        wait_for(setup.device)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
            seconds = setup.once(steps.advance, PROFILED_STEPS)
    ran = [e for e in profiled.key_averages() if e.device_type.name == "CUDA"]
    setup.show(
        "kernels of a step",
        number=sum(event.count for event in ran) / PROFILED_STEPS,
        busy_ms=sum(event.self_device_time_total for event in ran) / 1000 / PROFILED_STEPS,
        profiled_ms=1000 * seconds / PROFILED_STEPS,
    )
    for event in sorted(ran, key=lambda e: -e.self_device_time_total)[:SHOWN_KERNELS]:
        milliseconds = event.self_device_time_total / 1000 / PROFILED_STEPS
        print(f"  {milliseconds:8.3f} ms {event.count / PROFILED_STEPS:6.1f}x  {event.key[:110]}")


def evaluation(setup: Setup) -> None:
    """The validation split, as it is written and replayed."""
    experiment = setup.experiment()
    data = loaded(experiment, setup)
    found = {}
    with settings(experiment.recipe, setup.device):
        network = steps_of(experiment, experiment.recipe, setup).evaluated
        for name, is_recorded in (("eager", False), ("replayed", True)):
            recipe = replace(experiment.recipe, cuda_graph=is_recorded)
            evaluated = Evaluation(network, data, recipe)
            evaluated.scores(data.splits.val)
            found[name] = setup.mean_ms(partial(evaluated.scores, data.splits.val), 0.5)
    setup.show(f"evaluation of {len(data.splits.val.labels)} images, ms", **found)


def whole(setup: Setup) -> None:
    """Trainings of one epoch: three networks, then the first one once more."""
    experiment = setup.experiment("recipe.epochs=1", "candidates.max_networks=2")
    plan = experiment.plan()
    for number, candidate in enumerate((plan.base, *plan.candidates, plan.base)):
        result = train_trial(experiment.trial(candidate, seed=number), setup.device)
        if result.state != "COMPLETE":
            raise RuntimeError(f"a training must complete, got {result.reason!r}")
        setup.show(
            f"one epoch of network {candidate.number}, s",
            total=result.total_seconds,
            steps=result.train_seconds,
            accuracy=result.curve[-1].val_accuracy,
        )


PARTS: dict[str, Callable[[Setup], str | None]] = {
    "start": start,
    "step": step,
    "streams": streams,
    "kernels": kernels,
    "evaluation": evaluation,
    "whole": whole,
}
ONLY_CUDA = ("streams", "kernels")


def reserved_mb(setup: Setup) -> float:
    """Megabytes that torch holds of the device."""
    return torch.cuda.memory_reserved(setup.device) / 1e6


def free(setup: Setup) -> None:
    """Gives back what nothing uses any more."""
    gc.collect()
    with contextlib.suppress(RuntimeError):  # after a recording that failed; others still tell
        release_memory(setup.device)


def named(text: str) -> list[str]:
    """Parts by their names."""
    names = text.split(",")
    if unknown := set(names) - set(PARTS):
        raise argparse.ArgumentTypeError(f"must be of {', '.join(PARTS)}, got {sorted(unknown)}")
    return names


def main() -> None:
    """Runs the parts for each network; exits with 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=named, default=list(PARTS))
    parser.add_argument("--networks", default="efficientnet_small:64,efficientnet_medium:256")
    parser.add_argument("--device", default="cuda:0", help="cuda:0, or cpu for a rehearsal")
    parser.add_argument("--seconds", type=float, default=1.5, help="of a repeated measurement")
    parser.add_argument("--streams", default="1,2,4,8,16")
    parser.add_argument("overrides", nargs="*", help="as on the command line of scaling-search")
    options = parser.parse_args()
    is_cuda = options.device.startswith("cuda")
    if is_cuda and not torch.cuda.is_available():
        parser.exit(2, "anatomy.py: this machine has no CUDA device; --device cpu rehearses\n")
    if not is_cuda and (needing := [part for part in options.parts if part in ONLY_CUDA]):
        parser.exit(2, f"anatomy.py: {', '.join(needing)} must run on CUDA\n")
    print(f"{machine(options.device)}, {today()}", flush=True)
    fastest, has_failed = [], False
    numbers = tuple(int(number) for number in options.streams.split(","))
    for one, part in itertools.product(options.networks.split(","), options.parts):
        network, _, size = one.partition(":")
        setup = Setup(
            network, int(size), options.device, options.seconds, numbers, tuple(options.overrides)
        )
        try:
            fastest.append(PARTS[part](setup))
        except Exception:  # noqa: BLE001 - the other parts still tell something
            traceback.print_exc()
            has_failed = True
        free(setup)
    if lines := [line for line in fastest if line]:
        print("fastest: " + "; ".join(lines))
    sys.exit(has_failed)


if __name__ == "__main__":
    main()
