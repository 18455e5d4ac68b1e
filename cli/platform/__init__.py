"""The platform itself: `zmesh dev`, its parts, and what operators do with the database of the platform."""
