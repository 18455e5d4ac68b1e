"""The commands of `zmesh`: where each is defined, and the first sentence of its help."""

from __future__ import annotations

from cli.lazy import Place

COMMANDS = {
    "init": Place(
        "cli.project_commands",
        "init",
        "Write a small project folder: a function with its test, zmesh.toml, and a pipeline that deploys it.",
    ),
    "plan": Place(
        "cli.project_commands",
        "plan",
        "Show what `zmesh deploy` would change. Nothing is deployed; packages are built.",
    ),
    "deploy": Place("cli.project_commands", "deploy", "Deploy the project folder here, or functions from PATHS."),
    "pull": Place(
        "cli.project_commands",
        "pull",
        "Write functions and triggers of the project into a folder, so that a plan there has no changes.",
    ),
    "run": Place("cli.running", "run", "Run a file or folder in the sandbox of the platform, without deploying it."),
    "test": Place(
        "cli.testing",
        "test",
        "Run the tests of functions: test_*.py and *_test.py with pytest, *.test.js, .mjs and .ts with node:test.",
    ),
    "invoke": Place("cli.invoking", "invoke", "Invoke a function and print its result."),
    "logs": Place("cli.history", "logs", "Print a function's latest invocations with their logs, the newest last."),
    "functions": Place("cli.function_commands", "functions", "Deploy, invoke and manage functions."),
    "invocations": Place("cli.invocations", "invocations", "Inspect, cancel and retry invocations."),
    "schedules": Place("cli.schedules", "schedules", "Invoke functions on a schedule."),
    "webhooks": Place("cli.webhooks", "webhooks", "Invoke functions by messages from other services."),
    "callbacks": Place("cli.callbacks", "callbacks", "Manage the secret that signs callbacks."),
    "builds": Place("cli.builds", "builds", "Inspect and cancel the installation of packages."),
    "changes": Place("cli.changes", "changes", "Invoke functions on changes of tables."),
    "registries": Place("cli.registries", "registries", "Manage the project's own registries of packages."),
    "secrets": Place("cli.secrets", "secrets", "Manage secret values for functions."),
    "sql": Place(
        "cli.sql", "sql", 'Run SQL in the project\'s database, as its functions do: zmesh sql "select * from orders".'
    ),
    "types": Place(
        "cli.types",
        "types",
        'Write types of the project\'s tables, so that zmesh.db.select("orders") is typed in the editor.',
    ),
    "migrations": Place("cli.migrations", "migrations", "Apply the files of migrations/ to the project's schema."),
    "login": Place("cli.login", "login", "Log in to a zMesh; later commands use that session."),
    "logout": Place("cli.login", "logout", "End the session of zmesh login."),
    "password": Place(
        "cli.login",
        "password",
        "Change your password. Prompts for the new one, or reads it from standard input. Ends your other sessions.",
    ),
    "console": Place(
        "cli.console",
        "console",
        "Print a link that opens the web console and signs you in. It works once, within fifteen minutes.",
    ),
    "open": Place(
        "cli.console",
        "open_in_browser",
        "Open the web console in your browser, signed in; without a browser, print the link.",
    ),
    "env": Place(
        "cli.environment",
        "env",
        'Print ZMESH_URL, ZMESH_TOKEN, ZMESH_API_KEY and ZMESH_DATABASE_URL for a shell: eval "$(zmesh env)".',
    ),
    "mcp": Place(
        "cli.agents.command", "mcp", "Serve the Model Context Protocol on stdin and stdout, for editors and agents."
    ),
    "projects": Place("cli.projects", "projects", "Manage your projects."),
    "members": Place("cli.members", "members", "Manage the people of the project."),
    "keys": Place("cli.keys", "keys", "Manage the API keys of the project."),
    "completion": Place(
        "cli.completing",
        "completion",
        "Print a script that completes commands, options and names in a shell: source <(zmesh completion bash).",
    ),
    "admin": Place("cli.admin", "admin", "Create the first user, reset passwords, set limits and rotate keys."),
}
