"""From noisy numbers to estimates of what was counted and what was so. Post-processing: it costs no budget."""
