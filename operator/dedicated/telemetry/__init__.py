"""Logs and metrics: one formatter, one file of metrics. Names and reasons are spelled as in the catalogue."""
