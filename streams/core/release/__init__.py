"""Exact panes to what was drawn: sums over partitions, the privacy account, noise once, the ledger, and the records
that are told or withheld."""
