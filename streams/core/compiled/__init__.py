"""What compiled loops share: memory by its address, arrays without owners, blocks of rows, hash tables."""
