"""What benchmarks run, composed from conf/ as the command line does it."""

from scaling_search.composing import built, composed
from scaling_search.experiment import Experiment
from scaling_search.options import Options
from scaling_search.trust import Trusted


def options_of(*overrides: str) -> Options:
    """An experiment, its executor and the options of commands."""
    return built(composed(*overrides), Trusted())


def experiment_of(*overrides: str) -> Experiment:
    """The experiment alone."""
    return options_of(*overrides).experiment
