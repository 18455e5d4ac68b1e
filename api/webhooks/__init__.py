"""Webhooks: signatures of senders, messages that become invocations, and their management."""
