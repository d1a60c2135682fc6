"""A budget: the cost that all networks of a plan must have, and the caps that none may exceed."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling_search.core.network import Architecture
from scaling_search.core.part import part
from scaling_search.core.protocols import Cost, EstimatesMany, SampledCost
from scaling_search.core.scaling import Multipliers
from scaling_search.planning.cost_model import COUNTS, CostModel

Ratios = NDArray[np.float64]
"""Costs over the base network's."""

Limit = Annotated[float, Field(gt=0)] | None

PREDICTION_MARGIN = 2.0
"""Networks are measured if their predicted cost is within so many times the tolerance or cap."""


@part
class Caps:
    """Limits that no network of a search may exceed, whatever cost is equal; None for no limit.

    Attributes:
        flops: Multiply-adds for one image, forward.
        params: Trainable parameters.
        activations: Elements that products put out for one image.
        train_flops: Multiply-adds for one image, forward and backward.
        latency_ms: As ``latency`` measures it.
        memory_bytes: As ``memory`` measures it.
        latency: Measures ``latency_ms``.
        memory: Measures ``memory_bytes``.
    """

    flops: Limit = None
    params: Limit = None
    activations: Limit = None
    train_flops: Limit = None
    latency_ms: Limit = None
    memory_bytes: Limit = None
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
        """Caps on costs that are counted, by name."""
        limits = {name: getattr(self, name) for name in COUNTS}
        return {name: limit for name, limit in limits.items() if limit is not None}

    @property
    def measured(self) -> list[tuple[SampledCost, float]]:
        """Caps on costs that are measured."""
        limits = ((self.latency, self.latency_ms), (self.memory, self.memory_bytes))
        return [(cost, limit) for cost, limit in limits if cost is not None and limit is not None]


class Budget:
    """The base network, the cost that is held equal, and the caps.

    A cost that is measured must be calibrated before the budget can tell it; from then on the
    budget only computes, until a network is measured.

    Attributes:
        base_network: The network whose multipliers are 1.
        cost: The cost that is held equal.
        caps: The limits.
        cost_model: Predicts the cost; None where it has a closed form.
    """

    def __init__(
        self,
        base_network: Architecture,
        cost: Cost | SampledCost,
        caps: Caps | None = None,
        *,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """Continues from the ``state`` of an earlier budget.

        Raises:
            ValueError: Resolution does not change the cost.
        """
        self.base_network, self.cost, self.caps = base_network, cost, caps or Caps()
        self._state = dict(state or {})
        measured = [cost] if isinstance(cost, SampledCost) else []
        self._models = {
            str(one): CostModel(one, base_network, self._state.get(str(one)))
            for one in (*measured, *(capped for capped, _ in self.caps.measured))
        }
        self.cost_model = self._models[str(cost)] if isinstance(cost, SampledCost) else None
        self._capped = [(self._models[str(one)], limit) for one, limit in self.caps.measured]
        larger = base_network.scaled(Multipliers(1.0, 1.0, 2.0))
        if isinstance(cost, Cost) and cost.estimate(larger) == self.base_cost:
            cap = f" and cap this one by caps.{cost.column}" if cost.column in COUNTS else ""
            raise ValueError(
                f"cost must grow with each dimension, got {cost.column}, which resolution does not "
                f"change in this base network; use one that grows, like cost=flops{cap}"
            )

    @property
    def state(self) -> dict[str, Any]:
        """Measurements and cost models as JSON; empty where nothing was measured."""
        return self._state | {n: model.state for n, model in self._models.items() if model.samples}

    def calibrate(self, phi: float) -> None:
        """Measure some networks to predict the costs of all others at this size, once for each phi.

        Raises:
            ValueError: A cost cannot be measured here.
        """
        for model in self._models.values():
            if not model.is_fitted(phi):
                model.calibrate(phi)

    @cached_property
    def base_cost(self) -> float:
        """Cost of the base network, in the cost's unit."""
        if isinstance(self.cost, Cost):
            return self.cost.estimate(self.base_network)
        return self._models[str(self.cost)].base_value

    def ratio(self, network: Architecture, phi: float) -> float:
        """Cost over the base network's, in closed form or predicted for this size."""
        if isinstance(self.cost, Cost):
            return self.cost.estimate(network) / self.base_cost
        return self._models[str(self.cost)].ratio(network, phi)

    def cost_of(self, network: Architecture, phi: float) -> float:
        """Cost in its unit, in closed form or predicted for this size."""
        if isinstance(self.cost, Cost):
            return self.cost.estimate(network)
        return self.ratio(network, phi) * self.base_cost

    def ratios(
        self,
        depths: Sequence[Architecture],
        widths: Sequence[Architecture],
        resolutions: Sequence[Architecture],
    ) -> Ratios | None:
        """Costs over the base network's of all combinations, (depths, widths, resolutions).

        None where the cost or the architecture offers one network at a time. Each argument holds
        the base network with that dimension scaled, at least one.
        """
        if not isinstance(self.cost, EstimatesMany):
            return None
        costs = self.cost.estimates(depths, widths, resolutions)
        return None if costs is None else costs / self.base_cost

    def admits(self, network: Architecture, phi: float) -> bool:
        """True if no cap is exceeded by what is counted or predicted."""
        layers = network.layers() if self.caps.counted else ()
        counted = all(COUNTS[name](layers) <= limit for name, limit in self.caps.counted.items())
        return counted and all(
            model.ratio(network, phi) * model.base_value <= PREDICTION_MARGIN * limit
            for model, limit in self._capped
        )

    def measure_admits(self, network: Architecture) -> bool:
        """Measure a network for each cap that is measured; True if it exceeds none."""
        return all(model.measure(network).value <= limit for model, limit in self._capped)

    @property
    def has_caps(self) -> bool:
        """True if there is any cap."""
        return bool(self.caps.counted or self._capped)

    @property
    def is_measured(self) -> bool:
        """True if the cost or a cap is measured."""
        return bool(self._models)
