"""Files that an editor has begun with a byte order mark are read as those without."""

from collections.abc import Callable
from pathlib import Path

import pytest

from streams.cli.people import load_shares
from streams.importing.mapping import read_mapping
from streams.places.findings import Findings
from streams.places.polygons import read_places
from streams.settings import load_settings
from streams.stores.policies import load_measures, load_policies
from streams.stores.views import load_views

SHIPPED = Path(__file__).parents[2] / "policies" / "test.toml"
SQUARE = "[[[9, 50], [9.1, 50], [9.1, 50.1], [9, 50]]]"
READ: dict[str, tuple[Callable[[Path], object], str]] = {
    "throng.toml": (lambda file: load_settings(file, environ={}), '[kafka]\nbootstrap = "here:9092"\n'),
    "test.toml": (lambda file: load_policies(file.parent), SHIPPED.read_text(encoding="utf-8")),
    "measures.toml": (
        load_measures,
        '[[measure]]\nname = "present"\nstatistic = "present"\nlevel = "zone"\n'
        "pane_ms = 300_000\ncap = 0\nshare = 0.4\n",
    ),
    "view.toml": (load_views, "[present]\nshare = 0.1\napart = 4.0\n"),
    "shares.toml": (load_shares, 'source = "a report"\n'),
    "walks.toml": (read_mapping, 'time = "time"\ncell = "cell"\n'),
    "zones.geojson": (
        lambda file: read_places(file, Findings()),
        f'{{"type": "Feature", "id": "a", "geometry": {{"type": "Polygon", "coordinates": {SQUARE}}}}}',
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path, name: str) -> None:
    read, text = READ[name]
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    plain = read(file)
    file.write_text(text, encoding="utf-8-sig")
    assert read(file) == plain
