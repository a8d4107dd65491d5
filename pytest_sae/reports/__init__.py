"""Reports, all drawn from the same records."""
