"""Arrays with named axes and coordinates, as xarray has them; it is asked for when it is first needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from xarray import DataTree


class NotInstalledError(ImportError):
    """xarray is not there; the message says how to get it."""


@dataclass(frozen=True)
class Leaf:
    """One map at one step, or a mean over steps, where `step` (from 1) is None.

    path: where in the tree. texts: along the token axis, where they are known; tokens: their positions.
    """

    path: str
    axes: Sequence[str]
    values: npt.NDArray[Any]
    step: int | None
    sigma: float | None = None
    tokens: Sequence[int] | None = None
    texts: Sequence[str] = ()


def tree(leaves: Iterable[Leaf], about: Mapping[str, Any]) -> DataTree:
    """A tree with a dataset `values` at each path, whose steps are an axis. Raises NotInstalledError.

    Maps of one path that differ in shape or tokens have places of their own: the path, `_2`, `_3`, ...
    """
    try:
        import xarray
    except ImportError as error:
        raise NotInstalledError(
            "labelled arrays need xarray: pip install 'lib-unet-viz[notebook]'", name="xarray"
        ) from error

    groups: dict[str, dict[Any, list[Leaf]]] = {}
    for leaf in leaves:
        path = leaf.path if leaf.step is not None else f"{leaf.path}_mean"
        alike = (leaf.values.shape, tuple(leaf.tokens or ()), leaf.step is None)
        groups.setdefault(path, {}).setdefault(alike, []).append(leaf)
    nodes: dict[str, Any] = {}
    for path, kinds in groups.items():
        for number, group in enumerate(kinds.values(), 1):
            array = xarray.DataArray(**_array(group))
            nodes[path if number == 1 else f"{path}_{number}"] = array.to_dataset(name="values")
    nodes["/"] = xarray.Dataset(attrs={name: value for name, value in about.items() if value is not None})
    return xarray.DataTree.from_dict(nodes)


def _array(group: Sequence[Leaf]) -> dict[str, Any]:
    """Arguments of a DataArray; a place's y and x are its middle, from 0 to 1 down and to the right."""
    first = group[0]
    lengths = dict(zip(first.axes, first.values.shape, strict=True))
    coordinates: dict[str, Any] = {axis: np.arange(length) for axis, length in lengths.items()}
    coordinates |= {
        axis: (np.arange(lengths[axis]) + 0.5) / lengths[axis] for axis in ("y", "x") if axis in lengths
    }
    if first.tokens is not None:
        coordinates["token"] = list(first.tokens)
    if first.texts:
        coordinates["text"] = ("token", list(first.texts))
    if first.step is None:
        return {"data": first.values, "dims": list(first.axes), "coords": coordinates}
    ordered = sorted(group, key=lambda leaf: leaf.step or 0)
    coordinates["step"] = [leaf.step for leaf in ordered]
    coordinates["sigma"] = ("step", [np.nan if leaf.sigma is None else leaf.sigma for leaf in ordered])
    values = np.stack([leaf.values for leaf in ordered])
    return {"data": values, "dims": ["step", *first.axes], "coords": coordinates}
