"""Blocks without paper names or losses; this folder imports only torch."""
