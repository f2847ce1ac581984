"""What follows from released records alone, by whoever reads them: it costs no budget."""
