"""The HTTP API: app.py puts its parts together, main.py starts a process."""
