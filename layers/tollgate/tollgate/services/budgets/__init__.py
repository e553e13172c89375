"""Money held and settled, and thresholds told."""
