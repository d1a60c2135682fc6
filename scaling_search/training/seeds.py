"""The random streams of a training, all from its seed."""

import numpy as np
import torch
from torch import nn

from scaling_search.core.trial import Trial
from scaling_search.training.starts import load_start


def seeded_network(trial: Trial, device: str) -> nn.Module:
    """The trial's network with the weights of its seed, whose stream goes on to dropout.

    It belongs to torch's global generator. The draws of batches have `epoch_stream`. Weights of
    ``recipe.start`` replace the seed's.
    """
    torch.manual_seed(trial.seed)
    network = trial.candidate.architecture.build()
    if trial.recipe.start is not None:
        load_start(network, trial.recipe.start, trial.start)
    return network.to(device)


def epoch_stream(seed: int, epoch: int, *purpose: int) -> np.random.Generator:
    """The stream of an epoch's draws; each purpose, a number from 1, has one of its own."""
    return np.random.default_rng([seed, epoch, *purpose])
