"""The commands of `zmesh`, by what people do with them: where each is defined, and the first sentence of its help."""

from __future__ import annotations

from cli.places import Place

SECTIONS = {
    "Work with functions": {
        "init": Place(
            "cli.project.commands",
            "init",
            "Create a project folder: a function with its test, zmesh.toml, and a pipeline that deploys it.",
        ),
        "run": Place(
            "cli.invocations.running",
            "run",
            "Run a file or folder in the sandbox of the platform, without deploying it.",
        ),
        "test": Place(
            "cli.testing.commands",
            "test",
            "Run the tests of functions with pytest, node:test or vitest.",
        ),
        "plan": Place(
            "cli.project.commands",
            "plan",
            "Show what `zmesh deploy` would change. Nothing is deployed; packages are built.",
        ),
        "deploy": Place("cli.project.commands", "deploy", "Deploy the project folder here, or functions from PATHS."),
        "diff": Place(
            "cli.project.commands",
            "diff",
            "Show all that differs between a project folder and the project, also what only the project has.",
        ),
        "promote": Place(
            "cli.project.promoting",
            "promote",
            "Bring functions of the profile SOURCE into the project of the profile TARGET: all, or those named.",
        ),
        "pull": Place(
            "cli.project.commands",
            "pull",
            "Write the deployed functions and triggers into a folder; a plan then has no changes.",
        ),
        "invoke": Place("cli.invocations.invoking", "invoke", "Invoke a function and print its result."),
        "logs": Place(
            "cli.invocations.history", "logs", "Print a function's latest invocations with their logs, the newest last."
        ),
        "functions": Place("cli.functions.group", "functions", "Deploy, invoke and manage functions."),
        "invocations": Place("cli.invocations.commands", "invocations", "Inspect, cancel and retry invocations."),
        "schedules": Place("cli.triggers.schedules", "schedules", "Invoke functions on a schedule."),
        "webhooks": Place("cli.triggers.webhooks", "webhooks", "Invoke functions with messages from other services."),
        "changes": Place("cli.triggers.changes", "changes", "Invoke functions on changes of tables."),
        "callbacks": Place("cli.triggers.callbacks", "callbacks", "Manage the secret that signs callbacks."),
        "builds": Place("cli.functions.builds", "builds", "Inspect and cancel the installation of packages."),
        "registries": Place("cli.access.registries", "registries", "Manage the project's own registries of packages."),
        "secrets": Place("cli.access.secrets", "secrets", "Manage secret values for functions."),
    },
    "Work with the project's database": {
        "sql": Place(
            "cli.database.sql",
            "sql",
            'Run SQL in the project\'s database, as its functions do: zmesh sql "select * from orders".',
        ),
        "types": Place(
            "cli.database.types",
            "types",
            'Write types of the project\'s tables, so that zmesh.db.select("orders") is typed in the editor.',
        ),
        "migrations": Place(
            "cli.database.migrations", "migrations", "Apply the files of migrations/ to the project's schema."
        ),
    },
    "Work with others": {
        "login": Place("cli.access.login", "login", "Log in to a zMesh installation; later commands use that session."),
        "logout": Place("cli.access.login", "logout", "End the session of zmesh login."),
        "password": Place(
            "cli.access.login",
            "password",
            "Change your password. Prompts for the new one, or reads it from standard input. Ends your other sessions.",
        ),
        "console": Place(
            "cli.access.console",
            "console",
            "Print a link that opens the web console and signs you in. It works once, within fifteen minutes.",
        ),
        "open": Place(
            "cli.access.console",
            "open_in_browser",
            "Open the web console in your browser, signed in; without a browser, print the link.",
        ),
        "env": Place(
            "cli.access.environment",
            "env",
            'Print ZMESH_URL, ZMESH_TOKEN, ZMESH_API_KEY and ZMESH_DATABASE_URL for a shell: eval "$(zmesh env)".',
        ),
        "mcp": Place(
            "cli.agents.command", "mcp", "Serve the Model Context Protocol on stdin and stdout, for editors and agents."
        ),
        "projects": Place("cli.access.projects", "projects", "Manage your projects."),
        "members": Place("cli.access.members", "members", "Manage the members of the project."),
        "keys": Place("cli.access.keys", "keys", "Manage the API keys of the project."),
        "completion": Place(
            "cli.completing",
            "completion",
            "Print a script that completes commands, options and names in a shell: source <(zmesh completion bash).",
        ),
    },
    "Run the platform": {
        "dev": Place(
            "cli.platform.commands", "dev", "Run the whole platform on this machine: PostgreSQL, an API and a listener."
        ),
        "doctor": Place(
            "cli.platform.commands", "doctor", "Check what this machine offers, and report what is missing."
        ),
        "api": Place("cli.agents.command", "api", "Run an API process, configured by environment variables."),
        "listener": Place(
            "cli.platform.commands", "listener", "Run a listener process, configured by environment variables."
        ),
        "migrate": Place("cli.platform.commands", "migrate", "Migrate the database of DATABASE_URL to this version."),
        "admin": Place(
            "cli.platform.admin", "admin", "Create the first user, reset passwords, set limits and rotate keys."
        ),
    },
}
COMMANDS = {name: place for places in SECTIONS.values() for name, place in places.items()}
