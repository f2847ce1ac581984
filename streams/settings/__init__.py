"""Every setting, with its default, its bounds and what it means: the one place.

In come a TOML file, the environment and the command line, each over the one before; out goes one frozen value. The
name of a setting is its section and field, `gateway.flush_ms`; in the environment `THRONG_GATEWAY_FLUSH_MS`. The
reference page is generated from this package (`python -m streams.settings > docs/reference/settings.md`) and checked
against it. An unknown name or a value out of bounds is refused with one line that names the setting.
"""

from streams.settings.load import load_settings, to_environ
from streams.settings.page import reference
from streams.settings.sections import Settings
from streams.settings.servers import Kafka

__all__ = ["Kafka", "Settings", "load_settings", "reference", "to_environ"]
