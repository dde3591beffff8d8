"""Benchmarks: `python -m benchmarks.NAME [--json]` prints ratios against the alternative, both from one run."""
