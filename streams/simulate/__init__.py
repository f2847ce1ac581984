"""A synthetic town and its mobile network: attach events with a known truth.

    seed -> town (layout, radio) -> people -> ways (mobility) -> events (network) -> fates -> records (render)

`make_town` and `generate` make it, `plan` and `registry` are what the workers must know of it, `truth` what only tests
may. `docs/explanation/simulator.md` says what is modelled after what, and what is simplified.
"""

from streams.simulate.generate import Slice, generate
from streams.simulate.rates import Rates, parse_rates
from streams.simulate.registry import registry
from streams.simulate.town import Town, make_town, plan

__all__ = ["Rates", "Slice", "Town", "generate", "make_town", "parse_rates", "plan", "registry"]
