"""Who may do what, and where: logins, projects, members, keys, secrets and registries."""
