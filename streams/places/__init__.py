"""From polygons and a network's cells to a zone plan: what `throng zones` does. Nothing of it runs in a worker."""
