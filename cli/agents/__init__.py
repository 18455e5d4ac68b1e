"""`zmesh mcp`: the API as tools of the Model Context Protocol, with the permissions of the credentials it is given."""
