"""One large simulation over several devices: its lanes, its parameters, or both, along axes of a mesh.

The compiler moves the data; here it is only told what lies where. Gradients are computed where their lanes are and then
brought together, as the deliveries of a step follow each other.
"""

import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things lie.

    Attributes:
      mesh: devices, in axes with names.
      lanes: the axis over which the gradients of a step are spread; None: every device computes all.
      params: the axis along which parameters and snapshots are cut; None: every device has all.

    Example:
      >>> mesh = jax.make_mesh((jax.device_count(),), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))
      >>> layout = jasgd.Layout(mesh=mesh, lanes="devices")
    """

    mesh: Mesh
    lanes: str | None = None
    params: str | None = None

    def __post_init__(self) -> None:
        for name in (self.lanes, self.params):
            if name is not None and name not in self.mesh.axis_names:
                raise ValueError(f"the mesh has the axes {self.mesh.axis_names}, got {name!r}.")
        if self.lanes is not None and self.lanes == self.params:
            raise ValueError(f"`lanes` and `params` must be different axes, got {self.lanes!r} for both.")

    def of_params(self, tree: Any, *, stacked: int = 0, over_lanes: bool = False) -> Any:
        """Constrain parameters, or stacks of them: each leaf is cut along its longest axis that the devices divide."""
        if self.lanes is None:
            over_lanes = False

        def cut(leaf: jax.Array) -> jax.Array:
            spec: list[str | None] = [None] * leaf.ndim
            if over_lanes:
                spec[0] = self.lanes
            if self.params is not None:
                size = self.mesh.shape[self.params]
                axes = [axis for axis in range(stacked, leaf.ndim) if leaf.shape[axis] % size == 0 and leaf.shape[axis]]
                if axes:
                    spec[max(axes, key=lambda axis: leaf.shape[axis])] = self.params
            return jax.lax.with_sharding_constraint(leaf, NamedSharding(self.mesh, PartitionSpec(*spec)))

        return jax.tree.map(cut, tree)

    def over_lanes(self, tree: Any) -> Any:
        """Constrain what has one entry per lane."""
        return jax.lax.with_sharding_constraint(tree, NamedSharding(self.mesh, PartitionSpec(self.lanes)))
