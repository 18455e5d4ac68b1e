"""A project folder: zmesh.toml, plans, deployments and pulls."""
