"""HTTP itself: connections, middleware, JSON bodies, problem details and paging. Knows no tenant."""
