"""The experiments that benchmarks run, composed from conf/ by Hydra as the command line does it."""

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from scaling_search.experiment import Experiment
from scaling_search.left_open import settled

CONF = Path(__file__).resolve().parent.parent / "conf"


def options_of(*overrides: str) -> dict[str, Any]:
    """The plain options of an experiment, interpolations resolved and null ones settled."""
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        config = compose("config", overrides=list(overrides))
    plain: Any = OmegaConf.to_container(config, resolve=True)
    for key, value in settled(plain, lambda _, options: _built(options)).items():
        OmegaConf.update(config, key, value)
    plain = OmegaConf.to_container(config, resolve=True)
    return {str(key): value for key, value in plain.items()}


def experiment_of(*overrides: str) -> Experiment:
    """The experiment that options as on the command line give."""
    experiment: Experiment = _built(options_of(*overrides))
    return experiment


def _built(options: Any) -> Any:
    return instantiate(OmegaConf.create(options), _convert_="all")
