"""Everything else that people manage, and the history of invocations."""
