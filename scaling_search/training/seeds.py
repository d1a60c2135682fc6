"""The random streams of a training, all from its seed."""

import numpy as np
import torch
from torch import nn

from scaling_search.core.trial import Trial


def seeded_network(trial: Trial, device: str) -> nn.Module:
    """The trial's network with the weights of its seed, whose stream goes on to dropout.

    It belongs to torch's global generator. The draws of batches have `epoch_stream`.
    """
    torch.manual_seed(trial.seed)
    return trial.candidate.architecture.build().to(device)


def epoch_stream(seed: int, epoch: int) -> np.random.Generator:
    """The stream of an epoch's draws: order, mirroring and crops."""
    return np.random.default_rng([seed, epoch])
