"""The pure core: values in, values out. No Kafka, Redis, Faust, asyncio, clock or randomness (import rules say so).

By the data's way, and each part knows only those before it:

    events/     raw records to attach events, in columns
    gateway/    events to sightings: who may be counted, as whom and where
    crowd/      sightings to exact panes: order, presence, windows, state
    release/    panes to what was drawn: sums, the privacy account, noise, the ledger, records
    derived/    what follows from released records alone

Beside it: `estimates/` (what the release makes of noisy numbers), `calibration/` (counts on site), `rules/` (what is in
force), `compiled/` (what compiled loops share), and `inline`, the way from records to panes without a log between.
`release/`, `estimates/`, `derived/` and `calibration/` know nothing of `events/`, `gateway/` and `crowd/`.
"""
