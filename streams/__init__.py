"""throng: where crowds are and move, live, without knowing anyone.

The data's way: attach -> agents/gateway -> sightings -> agents/crowd -> panes -> agents/release -> footfall, flows,
dwell, visits, areas.
`core/` decides (pure functions of values), `agents/` and `stores/` carry it out.
"""
