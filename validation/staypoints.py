"""Staypoints by trackintel of fixes in a CSV file: run in the reference's own venv, without throng.

    python staypoints.py FIXES.csv STAYPOINTS.csv

FIXES: user, time (ms), place. A place is a point on the equator, 11 km from the next, so a staypoint (Li et al. 2008:
the fixes of a user that are less than 1 km from the first of them, if they last 10 minutes or longer) is a time in one
place. STAYPOINTS: user, place, begin, end (ms).
"""

import sys

import geopandas as gpd
import pandas as pd
import trackintel as ti

DEGREES = 0.1
NO_GAP_MIN = 10_000.0


def main(source: str, target: str) -> None:
    """Read, look for staypoints, write."""
    rows = pd.read_csv(source)
    fixes = gpd.GeoDataFrame(
        {"user_id": rows.user, "tracked_at": pd.to_datetime(rows.time, unit="ms", utc=True)},
        geometry=gpd.points_from_xy(rows.place * DEGREES, [0.0] * len(rows)),
        crs="EPSG:4326",
    )
    fixes.index.name = "id"
    _, found = ti.preprocessing.generate_staypoints(
        ti.Positionfixes(fixes),
        method="sliding",
        dist_threshold=1000,
        time_threshold=10.0,
        gap_threshold=NO_GAP_MIN,
        include_last=False,
    )
    told = pd.DataFrame(
        {
            "user": found.user_id,
            "place": (found.geometry.x / DEGREES).round().astype(int),
            "begin": found.started_at.astype("datetime64[ms, UTC]").astype("int64"),
            "end": found.finished_at.astype("datetime64[ms, UTC]").astype("int64"),
        }
    )
    told.to_csv(target, index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
