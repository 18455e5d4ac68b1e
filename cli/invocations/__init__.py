"""Invoking and running functions, and what became of it."""
