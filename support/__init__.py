"""Helpers of several rooms; imports nothing of ours."""
