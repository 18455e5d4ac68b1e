"""What invokes functions: schedules, webhooks, table changes; and callbacks."""
