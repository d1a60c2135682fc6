"""What networks may cost: the cost that is held equal, the caps, and what was measured of both."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import nnls

from scaling_search.core.network import Architecture, Layer, training_flops
from scaling_search.core.part import part
from scaling_search.core.protocols import Cost, EstimatesMany, Sample, SampledCost
from scaling_search.core.scaling import REFERENCES, Multipliers

Ratios = NDArray[np.float64]
"""Costs over the base network's."""

Most = Annotated[float, Field(gt=0)] | None

REACH = 2.0
"""Networks are measured within so many times the band where their cost is only predicted."""

CALIBRATING = ("depth", "width", "resolution", "thirds")
"""Splits whose networks teach what others cost."""

Track = Callable[[Iterable[Any], int], Iterable[Any]]
"""Shows the progress over so many things."""


def untracked(things: Iterable[Any], number: int) -> Iterable[Any]:
    """Shows nothing."""
    del number
    return things


@part
class Caps:
    """What no network of a search may exceed, whatever is held equal; None for no cap.

    Attributes:
        flops: Multiply-adds for one image, forward.
        params: Trainable parameters.
        activations: Elements that products put out for one image.
        train_flops: Multiply-adds for one image, forward and backward.
        latency_ms: As ``latency`` measures it.
        memory_bytes: As ``memory`` measures it.
        latency: How it is measured; needed with ``latency_ms``.
        memory: How it is measured; needed with ``memory_bytes``.
    """

    flops: Most = None
    params: Most = None
    activations: Most = None
    train_flops: Most = None
    latency_ms: Most = None
    memory_bytes: Most = None
    latency: SampledCost | None = None
    memory: SampledCost | None = None

    def __post_init__(self) -> None:
        """Checks that each cap can be measured."""
        for option, cost in (("latency_ms", "latency"), ("memory_bytes", "memory")):
            if getattr(self, option) is not None and getattr(self, cost) is None:
                raise ValueError(
                    f"caps.{cost} must measure caps.{option}, got None; give costs.{cost.title()}()"
                )

    @property
    def counted(self) -> dict[str, float]:
        """Caps that layers tell."""
        limits = {name: getattr(self, name) for name in COUNTS}
        return {name: limit for name, limit in limits.items() if limit is not None}

    @property
    def sampled(self) -> list[tuple[SampledCost, float]]:
        """Caps that only running a network tells."""
        limits = ((self.latency, self.latency_ms), (self.memory, self.memory_bytes))
        return [(cost, limit) for cost, limit in limits if cost is not None and limit is not None]


COUNTS: dict[str, Callable[[Sequence[Layer]], float]] = {
    "flops": lambda layers: sum(layer.flops for layer in layers),
    "params": lambda layers: sum(layer.params for layer in layers),
    "activations": lambda layers: sum(layer.activations for layer in layers),
    "train_flops": training_flops,
}
"""What layers tell, by name."""


class Gauge:
    """A cost that is measured: what is known of it, and what that predicts of other networks.

    Ratios to the base network's are predicted by those of FLOPs, activations and the number of
    layers, with weights that are not negative, and a constant for the rest of 1.

    Attributes:
        cost: What is measured.
        samples: By the networks' names.
        weights: Of the prediction, by phi.
    """

    def __init__(self, cost: SampledCost, base_network: Architecture, track: Track) -> None:
        self.cost, self.base_network, self.track = cost, base_network, track
        self.samples: dict[str, Sample] = {}
        self.weights: dict[str, list[float]] = {}
        self._sampled: dict[str, Architecture] = {}
        self._regressors: dict[Architecture, NDArray[np.float64]] = {}

    @property
    def state(self) -> dict[str, Any]:
        """What is known, to be kept as JSON."""
        samples = {name: asdict(sample) for name, sample in self.samples.items()}
        return {"samples": samples, "weights": self.weights}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up what was known elsewhere."""
        self.samples = {name: Sample(**sample) for name, sample in state["samples"].items()}
        self.weights = {phi: list(weights) for phi, weights in state["weights"].items()}

    def sample(self, network: Architecture) -> Sample:
        """What a network costs, measured once."""
        if network.name not in self.samples:
            self.samples[network.name] = self.cost.sample(network, self.base_network)
        self._sampled[network.name] = network
        return self.samples[network.name]

    def calibrate(self, phi: float) -> None:
        """Measures some networks of this size and of half of it, unless weights are known."""
        if str(phi) in self.weights:
            return
        networks = [
            self.base_network.scaled(REFERENCES[name].multipliers(2.0**size))
            for size in (phi / 2, phi)
            for name in CALIBRATING
        ]
        for network in self.track((self.base_network, *networks), len(networks) + 1):
            self.sample(network)
        self._fit(phi, networks)

    def learn(self, phi: float) -> None:
        """Weighs anew, by all networks that were measured until now."""
        self._fit(phi, list(self._sampled.values()))

    def ratio(self, network: Architecture, phi: float) -> float:
        """Predicted cost over the base network's; at least a thousandth."""
        self.calibrate(phi)
        weights = np.array(self.weights[str(phi)])
        return max(1e-3, 1.0 + float((self._against_base(network) - 1) @ weights))

    def _fit(self, phi: float, networks: Sequence[Architecture]) -> None:
        ratios = np.array([self.samples[network.name].ratio for network in networks])
        regressors = np.array([self._against_base(network) for network in networks])
        # Relative errors: a band is a fraction of the cost.
        weights, _ = nnls((regressors - 1) / ratios[:, None], (ratios - 1) / ratios)
        self.weights[str(phi)] = [float(weight) for weight in weights]

    def _against_base(self, network: Architecture) -> NDArray[np.float64]:
        return self._counts(network) / self._counts(self.base_network)

    def _counts(self, network: Architecture) -> NDArray[np.float64]:
        if network not in self._regressors:
            layers = network.layers()
            counts = (COUNTS["flops"](layers), COUNTS["activations"](layers), len(layers))
            self._regressors[network] = np.array(counts, dtype=np.float64)
        return self._regressors[network]


class Budget:
    """What is scaled, what is held equal and what must not be exceeded.

    Attributes:
        base_network: Its multipliers are 1.
        cost: What is held equal.
        caps: What no network may exceed; None where a plan is made without.
    """

    def __init__(
        self,
        base_network: Architecture,
        cost: Cost | SampledCost,
        caps: Caps | None = None,
        *,
        state: Mapping[str, Any] | None = None,
        track: Track = untracked,
    ) -> None:
        """Takes what is known of measured costs from an earlier one's ``state``.

        Raises:
            ValueError: Resolution does not change the cost, or it cannot be measured here.
        """
        self.base_network, self.cost, self.caps, self.track = base_network, cost, caps, track
        self._gauges: dict[str, Gauge] = {}
        self._state = dict(state or {})
        if isinstance(cost, SampledCost):
            self._check(cost)
        elif cost.estimate(self._alone("resolution")) == self.base_cost:
            cap = f" and cap this one by caps.{cost.column}" if cost.column in COUNTS else ""
            raise ValueError(
                f"cost must grow with each dimension, got {cost.column}, which resolution does not "
                f"change in this base network; hold one that grows, like cost=flops{cap}"
            )
        for sampled, _ in caps.sampled if caps is not None else ():
            self._check(sampled)

    @cached_property
    def base_cost(self) -> float:
        """The base network's, in the cost's unit; measured where it is."""
        if isinstance(self.cost, SampledCost):
            return self._gauge(self.cost).sample(self.base_network).value
        return self.cost.estimate(self.base_network)

    @property
    def held(self) -> Gauge | None:
        """What measures the cost that is held; None where it is in closed form."""
        return self._gauge(self.cost) if isinstance(self.cost, SampledCost) else None

    @property
    def state(self) -> dict[str, Any]:
        """What was measured and learned, to be kept as JSON; empty where nothing was."""
        return self._state | {name: gauge.state for name, gauge in self._gauges.items()}

    def is_learned(self, phi: float) -> bool:
        """Whether what is predicted at this size was learned from networks of a plan."""
        return self.held is None or str(phi) in self.held.weights

    def ratio(self, network: Architecture, phi: float) -> float:
        """Cost over the base network's, in closed form or predicted for this size."""
        if isinstance(self.cost, SampledCost):
            return self._gauge(self.cost).ratio(network, phi)
        return self.cost.estimate(network) / self.base_cost

    def cost_of(self, network: Architecture, phi: float) -> float:
        """Cost in its unit, in closed form or predicted for this size."""
        if isinstance(self.cost, SampledCost):
            return self._gauge(self.cost).ratio(network, phi) * self.base_cost
        return self.cost.estimate(network)

    def ratios(
        self,
        depths: Sequence[Architecture],
        widths: Sequence[Architecture],
        resolutions: Sequence[Architecture],
    ) -> Ratios | None:
        """Cost over the base network's of every combination, (depths, widths, resolutions).

        None where the cost or the architecture offers one network at a time. Each argument holds
        the base network with that dimension scaled, at least one.
        """
        if not isinstance(self.cost, EstimatesMany):
            return None
        costs = self.cost.estimates(depths, widths, resolutions)
        return None if costs is None else costs / self.base_cost

    def admits(self, network: Architecture, phi: float) -> bool:
        """Whether no cap is exceeded, as far as that is counted or predicted."""
        if self.caps is None:
            return True
        layers = network.layers() if self.caps.counted else ()
        counted = all(COUNTS[name](layers) <= limit for name, limit in self.caps.counted.items())
        return counted and all(
            gauge.ratio(network, phi) * gauge.sample(self.base_network).value <= REACH * limit
            for gauge, limit in self._capped()
        )

    def admits_measured(self, network: Architecture) -> bool:
        """Whether no cap is exceeded that is measured."""
        return all(gauge.sample(network).value <= limit for gauge, limit in self._capped())

    @property
    def has_caps(self) -> bool:
        """Whether there is any cap."""
        return self.caps is not None and bool(self.caps.counted or self.caps.sampled)

    @property
    def is_measured(self) -> bool:
        """Whether networks must run before it is known which are kept."""
        return self.held is not None or bool(self._capped())

    def _capped(self) -> list[tuple[Gauge, float]]:
        capped = [] if self.caps is None else self.caps.sampled
        return [(self._gauge(cost), limit) for cost, limit in capped]

    def _gauge(self, cost: SampledCost) -> Gauge:
        name = str(cost)
        if name not in self._gauges:
            self._gauges[name] = Gauge(cost, self.base_network, self.track)
            if name in self._state:
                self._gauges[name].restore(self._state[name])
        return self._gauges[name]

    def _check(self, cost: SampledCost) -> None:
        if str(cost) not in self._state:  # what was measured elsewhere needs no device here
            cost.check()

    def _alone(self, dimension: str) -> Architecture:
        return self.base_network.scaled(Multipliers(2.0, 2.0, 2.0).alone(dimension))
