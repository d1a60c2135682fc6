"""A command's call: composed options become values, which the command's function takes."""

import contextlib
import importlib
import sys
from pathlib import Path
from typing import Any

import pydantic
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from scaling_search.commands.folders import OWN_OPTIONS, takes_folder, with_folder
from scaling_search.commands.headline import say_headline
from scaling_search.commands.messages import refused
from scaling_search.commands.run import Run
from scaling_search.display.progress import bars
from scaling_search.display.terminal import Terminal, tell
from scaling_search.experiment.composing import built, settled, without_passwords
from scaling_search.experiment.options import Options
from scaling_search.experiment.references import check_references
from scaling_search.experiment.trust import Trusted
from scaling_search.record.storage_urls import storage_flag
from scaling_search.runtime.output import surviving
from scaling_search.runtime.progress import waiting

WIDTH = 110
"""Columns of tables where the output is no terminal."""

ENDINGS = ("search", "scale", "confirm", "fairness", "transfer", "export")
"""Commands whose last lines are the answer; ``run`` and ``report`` say it too."""


def call(command: str, config: Any, trusted: Trusted) -> None:
    """Builds the values that a command needs and calls it; the configuration ends here.

    Raises:
        ValueError: An option is wrong; the command can raise more.
    """
    check_references(OmegaConf.to_container(config, resolve=False))
    overrides = [str(o) for o in HydraConfig.get().overrides.task]
    config = with_folder(command, config, overrides)
    note = ""
    if takes_folder(command, config, overrides):
        place = Path(config.out) / "config.yaml"
        note = f"options that are not given here are those of {place}"
    plain, options = _values(config, trusted, note)
    assert options.executor is not None  # conf/ names one
    console = Terminal(width=None if sys.stdout.isatty() else WIDTH, emoji=False)
    run = Run(
        options.experiment,
        options.out,
        options.executor,
        storage=options.storage,
        limits=options.limits,
        keep_weights=options.keep_weights,
        console=console,
        trusted=trusted,
        flags=trusted.flags + storage_flag(options.storage, overrides),
    )
    prints_only = command == "plan" or (command == "audit" and not options.audit.write)
    survives = contextlib.nullcontext() if prints_only or options.price_only else surviving()
    with bars(console), survives:
        if command in OWN_OPTIONS:
            try:
                run.check_config()
            except RuntimeError as error:
                error.add_note(note if options.storage else "")  # it may be the wrong one
                raise
        elif note:
            tell(console, f"{note[0].upper()}{note[1:]}; its limits are not kept.")
        _call(command, run, options, OmegaConf.to_yaml(OmegaConf.create(without_passwords(plain))))


def _values(config: DictConfig, trusted: Trusted, note: str) -> tuple[dict[str, Any], Options]:
    """Plain options and their values; errors have a note where these come from a folder."""
    try:
        with waiting("looking at the data"):
            plain = settled(config, trusted)
            return plain, built(plain, trusted)
    except Exception as error:
        cause = error if isinstance(error, pydantic.ValidationError) else error.__cause__
        if isinstance(cause, pydantic.ValidationError):
            raw = OmegaConf.to_container(config, resolve=False)
            told = ValueError(refused(str(error), cause, raw))
            told.add_note(note)
            raise told from error
        error.add_note(note)
        raise


def _call(command: str, run: Run, options: Options, config: str) -> None:
    """Calls a command; each imports only what it needs: a search no figures, a plan no tables."""
    if command == "report":
        with run.console.status("reading the record, fitting the surface, writing report.html"):
            asked = options.report
            run.report(most=asked.most, published=asked.published, to=asked.to)
        return
    name = "stages" if command == "run" else command
    module = importlib.import_module(f"scaling_search.commands.{name}")
    if command == "run":
        module.run_stages(
            run,
            options.run,
            hours=options.hours,
            config=config,
            scale=options.scale,
            confirm=options.confirm,
            report=options.report,
            timed=options.timed,
            price_only=options.price_only,
        )
    elif command == "plan":
        module.plan(run, timed=options.timed, fairness=options.fairness)
    elif command == "search":
        run = module.search(
            run,
            config=config,
            price_only=options.price_only,
            timed=options.timed,
            fairness=options.fairness,
        )
    elif command == "audit":
        module.audit(run, options.audit)
    elif command == "compare":
        given = {"allow": run.trusted.allow, "console": run.console}
        module.compare(*options.compare.runs, out=options.out, **given).report()
    else:
        function = getattr(module, command)
        function(run, getattr(options, command), price_only=options.price_only)
    if command in ENDINGS and not options.price_only:
        say_headline(run)
