"""``/metrics`` for Prometheus: one module for each family of metrics; names are in base units, with HELP."""
