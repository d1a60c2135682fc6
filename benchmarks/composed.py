"""Experiments of the benchmarks, composed from conf/ as by the command line."""

from scaling_search.experiment.composing import built, composed
from scaling_search.experiment.experiment import Experiment
from scaling_search.experiment.options import Options
from scaling_search.experiment.trust import Trusted


def options_of(*overrides: str) -> Options:
    """An experiment, its executor and the options of commands."""
    return built(composed(*overrides), Trusted())


def experiment_of(*overrides: str) -> Experiment:
    """The experiment alone."""
    return options_of(*overrides).experiment
