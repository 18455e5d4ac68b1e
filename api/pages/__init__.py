"""HTML pages of the API: landing page and API reference."""
