"""Metrics: numbers for the tables; the name of each carries its protocol."""
