"""Requests and responses of the management API, as pydantic models."""
