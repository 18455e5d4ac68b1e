"""The database of a project: SQL, types of its tables, and migrations."""
