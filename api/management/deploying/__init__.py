"""Deployments: functions by themselves, or a whole project with its triggers, in one transaction."""
