"""The text of a run's ``config.yaml``, and changes of a run and of that text together."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omegaconf import OmegaConf

from scaling_search.commands.run import Run
from scaling_search.experiment.composing import as_config


def config_of(run: Run) -> str:
    """The text for a run that no command line has made."""
    return as_config(
        run.experiment,
        run.executor,
        out=run.out,
        storage=run.storage,
        limits=run.limits,
        keep_weights=run.keep_weights,
    )


def with_options(run: Run, config: str, options: Mapping[str, float | None]) -> tuple[Run, str]:
    """The run with other options of its experiment, and its text with the same ones.

    Args:
        run: A run.
        config: The text of its ``config.yaml``.
        options: Values by key of the experiment, or of one of its parts as in ``recipe.epochs``.
    """
    experiment, texts = run.experiment, OmegaConf.create(config)
    for key, value in options.items():
        OmegaConf.update(texts, key, value)
        part, _, name = key.partition(".")
        changed: Any = replace(getattr(experiment, part), **{name: value}) if name else value
        experiment = replace(experiment, **{part: changed})
    return replace(run, experiment=experiment), OmegaConf.to_yaml(texts)
