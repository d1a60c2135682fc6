"""A cost model: predicts a measured cost of networks from those that were measured."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from scaling_search.core.network import Architecture, Layer, training_flops
from scaling_search.core.protocols import Sample, SampledCost
from scaling_search.core.scaling import REFERENCES
from scaling_search.runtime.progress import progress

CALIBRATION_SPLITS = ("depth", "width", "resolution", "thirds")
"""Points of the triangle whose networks are measured to calibrate a cost model."""

COUNTS: dict[str, Callable[[Sequence[Layer]], float]] = {
    "flops": lambda layers: sum(layer.flops for layer in layers),
    "params": lambda layers: sum(layer.params for layer in layers),
    "activations": lambda layers: sum(layer.activations for layer in layers),
    "train_flops": training_flops,
}
"""Costs that are counted from a network's layers, by name."""


class CostModel:
    """Predicts the ratio of a measured cost to the base network's.

    The prediction is linear in the ratios of FLOPs, activations and number of layers, with weights
    that are not negative and a constant for the rest of 1.

    Attributes:
        cost: The cost that is measured.
        samples: Measurements by the networks' names.
        weights: Weights of the three ratios, by phi as text.
    """

    def __init__(
        self, cost: SampledCost, base_network: Architecture, state: Mapping[str, Any] | None = None
    ) -> None:
        """Continues from the ``state`` of an earlier model."""
        known = state or {"samples": {}, "weights": {}}
        self.cost, self.base_network = cost, base_network
        self.samples = {name: Sample(**sample) for name, sample in known["samples"].items()}
        self.weights: dict[str, list[float]] = dict(known["weights"])
        self._measured: dict[str, Architecture] = {}
        self._regressors: dict[Architecture, NDArray[np.float64]] = {}

    @property
    def state(self) -> dict[str, Any]:
        """Samples and weights, as JSON."""
        samples = {name: asdict(sample) for name, sample in self.samples.items()}
        return {"samples": samples, "weights": self.weights}

    def is_fitted(self, phi: float) -> bool:
        """True if the model can predict at this size."""
        return str(phi) in self.weights

    def measure(self, network: Architecture) -> Sample:
        """Measure a network on the device, unless its sample is known."""
        if network.name not in self.samples:
            self.samples[network.name] = self.cost.sample(network, self.base_network)
        self._measured[network.name] = network
        return self.samples[network.name]

    @property
    def base_value(self) -> float:
        """Measured cost of the base network, in the cost's unit; RuntimeError before."""
        if self.base_network.name not in self.samples:
            raise RuntimeError(f"{self.cost.column} must be measured first; call calibrate(phi)")
        return self.samples[self.base_network.name].value

    def calibrate(self, phi: float) -> None:
        """Measure some networks of this size and of half of it, and fit the model to them.

        Raises:
            ValueError: The cost cannot be measured here.
        """
        if not self.samples:
            self.cost.check()
        networks = [
            self.base_network.scaled(REFERENCES[name].multipliers(2.0**size))
            for size in (phi / 2, phi)
            for name in CALIBRATION_SPLITS
        ]
        every = (self.base_network, *networks)
        for network in progress(every, f"measuring {self.cost.column}", len(every)):
            self.measure(network)
        self._fit(phi, networks)

    def refit(self, phi: float) -> None:
        """Fit the model to all networks that this process has measured or looked up."""
        self._fit(phi, self._measured.values())

    def ratio(self, network: Architecture, phi: float) -> float:
        """Predicted cost over the base network's; at least a thousandth.

        Raises:
            RuntimeError: The model is not calibrated for this size.
        """
        if not self.is_fitted(phi):
            raise RuntimeError(
                f"budget must be calibrated before it predicts {self.cost.column}; "
                f"call calibrate({phi:g})"
            )
        return max(1e-3, 1.0 + float((self._ratios(network) - 1) @ self.weights[str(phi)]))

    def _fit(self, phi: float, networks: Iterable[Architecture]) -> None:
        measured = [(self._ratios(one), self.samples[one.name].ratio) for one in networks]
        counted = np.array([ratios for ratios, _ in measured])
        ratios = np.array([ratio for _, ratio in measured])
        # Relative errors: a band is a fraction of the cost.
        weights, _ = nnls((counted - 1) / ratios[:, None], (ratios - 1) / ratios)
        self.weights[str(phi)] = weights.tolist()

    def _ratios(self, network: Architecture) -> NDArray[np.float64]:
        """FLOPs, activations and number of layers over the base network's."""
        return self._counts(network) / self._counts(self.base_network)

    def _counts(self, network: Architecture) -> NDArray[np.float64]:
        if network not in self._regressors:
            layers = network.layers()
            counts = (COUNTS["flops"](layers), COUNTS["activations"](layers), len(layers))
            self._regressors[network] = np.array(counts, dtype=np.float64)
        return self._regressors[network]
