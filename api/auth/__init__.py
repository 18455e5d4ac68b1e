"""Who calls, and whether they may: tokens, API keys, logins, and the guard of the public route."""
