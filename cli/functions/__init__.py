"""`zmesh functions`: deploying functions, with their packages, settings and versions."""
