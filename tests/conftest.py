"""What several test modules ask for by name."""

from pathlib import Path

import pytest
import torch

from scaling_search.experiment import Experiment
from tests.tiny import tiny_experiment

# More threads than cores, with other tests beside, make the small networks here ten times slower.
torch.set_num_threads(1)


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Four networks to train on 100 real images, in a folder of its own."""
    return tiny_experiment(tmp_path)
