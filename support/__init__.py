"""Helpers shared by several packages; imports none of them."""
