"""Helpers shared by several packages: crypto, logging, threads and tasks. Imports none of them."""
