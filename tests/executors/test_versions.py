"""Versions that two machines must share before one trains for the other."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scaling_search.base_networks.custom_network import custom
from scaling_search.executors.versions import version, versions
from tests.tiny import tiny_trial

SOURCE = "from torch import nn\n\ndef network(**given):\n    return nn.{}(1)\n"


def test_versions_are_those_of_the_package_and_of_the_libraries_that_decide_results() -> None:
    found = versions(tiny_trial())
    assert set(found) == {"scaling_search", "torch", "numpy"}
    assert found["numpy"] == np.__version__
    assert torch.__version__.startswith(found["torch"])
    assert "+" not in found["torch"]  # nodes with GPUs have another build than those without


def test_the_source_of_a_user_s_network_is_a_version_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "nets_of_mine.py"
    source.write_text(SOURCE.format("ReLU"), encoding="utf-8")
    architecture = custom(importlib.import_module("nets_of_mine").network)
    trial = tiny_trial()
    trial = replace(trial, candidate=replace(trial.candidate, architecture=architecture))
    before = versions(trial)
    assert set(before) == {"scaling_search", "torch", "numpy", "nets_of_mine"}
    version.cache_clear()
    assert versions(trial) == before
    source.write_text(SOURCE.format("Tanh"), encoding="utf-8")
    version.cache_clear()
    assert {name for name, one in versions(trial).items() if one != before[name]} == {
        "nets_of_mine"
    }


def test_a_package_that_is_not_installed_is_missing() -> None:
    assert version("no_such_package") == "missing"
