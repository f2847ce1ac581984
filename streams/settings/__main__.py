"""`python -m streams.settings`: the reference page."""

import sys

from streams.settings import reference

sys.stdout.write(reference())
