"""Points that stand for an area: spread evenly over it, the same ones each time."""

import math
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

POINTS: Final = 128
MOST_DRAWN: Final = 16  # times as many, for an outline that fills little of its box
# The plane's most even sequence (Roberts 2018: the plastic number's powers).
EVEN: Final = (0.7548776662466927, 0.5698402909980532)


def points(outline: shapely.Geometry, about: int = POINTS) -> NDArray[np.float64]:
    """About so many points spread evenly over an outline, f64[n, 2]; one within at least."""
    west, south, east, north = outline.bounds
    filled = outline.area / max((east - west) * (north - south), 1e-9)
    number = np.arange(1, min(math.ceil(about / max(filled, 1e-9)), MOST_DRAWN * about) + 1)
    drawn = np.column_stack(
        [west + (number * EVEN[0]) % 1 * (east - west), south + (number * EVEN[1]) % 1 * (north - south)]
    )
    shapely.prepare(outline)
    inside = drawn[shapely.contains_xy(outline, drawn)]
    return np.asarray(inside if len(inside) else shapely.get_coordinates(outline.representative_point()))
