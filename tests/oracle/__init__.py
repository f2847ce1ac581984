"""The oracle: what must be counted, computed the plain way.

It implements docs/reference/semantics.md a second time, with the standard library alone and without a line of the
product: no columns, no partitions, no watermarks but where the page speaks of them. Slow, and meant to be read.
"""
