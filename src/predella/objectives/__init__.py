"""Objectives: which losses train which networks, in the paper's letters."""
