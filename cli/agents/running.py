"""Tools that run code: a function as it is deployed, or code that is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from cli.agents.plans import Settling
from cli.agents.reading import FunctionName, invocation, live_alias
from cli.agents.sources import Code, EntryFile, EntryPoint, Files, Language, difference, wanted
from cli.client import REQUEST_SECONDS, Client, Response, quoted
from cli.connecting import find_function, look_up_function
from cli.functions.building import build_packages

Data = Mapping[str, Any]
WAIT = {"Prefer": "wait=45"}  # clients of this protocol give up on a call after a minute
CALLED_BY = ("language", "entry_point", "entry_file")
UNFINISHED = ("queued", "running")
LATER = "It has not ended yet. Call read_invocation with its id for the outcome."

Payload = Annotated[Any, Field(description="Payload: any JSON value; null is {}.")]
Confirm = Annotated[
    str, Field(max_length=100, description="Empty: answer with a plan. Else the value that the plan gave out.")
]


class Runner:
    """What an agent may run."""

    def __init__(self, client: Client, plans: Settling) -> None:
        self._client = client
        self._plans = plans

    def invoke_function(self, name: FunctionName, payload: Payload = None, confirm: Confirm = "") -> Data:
        """Invoke a deployed function, and wait up to 45 seconds for its outcome and log. What it does is done for real.

        The first call answers with a plan; the second one, with confirm, runs the function.
        """
        payload = {} if payload is None else payload
        if not self._client.is_logged_in:  # an API key may invoke functions, and not look at them
            return self._plans.settle(
                "invoke",
                {"function": name, "payload": payload},
                {"function": name, "payload": payload},
                confirm,
                lambda: self._outcome(self._invoke_with_key(name, payload, confirm)),
            )
        function = find_function(self._client, name)
        path = f"/functions/{function['id']}/invoke"
        return self._plans.settle(
            "invoke",
            {"id": function["id"], "revision": function["revision"], "payload": payload},
            {
                **_facts(function),
                "version": function["version"],
                **live_alias(self._client, function),
                "payload": payload,
            },
            confirm,
            lambda: self._outcome(self._client.call("POST", path, {"payload": payload}, headers=_once(confirm))),
        )

    def dry_run_function(self, name: FunctionName, payload: Payload = None) -> Data:
        """Run a deployed function without effect, and wait up to 45 seconds for its outcome and log.

        Its network is closed, its changes of the database are rolled back, and would_have_changed tells which they are.
        """
        path = f"/functions/{find_function(self._client, name)['id']}/invoke"
        body = {"payload": {} if payload is None else payload, "dry_run": True}
        return self._outcome(self._client.call("POST", path, body, headers=WAIT))

    def run_draft(
        self,
        name: FunctionName,
        payload: Payload = None,
        code: Code = "",
        files: Files = None,
        entry_file: EntryFile = "",
        language: Language = "",
        entry_point: EntryPoint = "",
        dry_run: Annotated[bool, Field(description="true: close its network and roll back what it changes.")] = True,
        confirm: Confirm = "",
    ) -> Data:
        """Run code in the sandbox without deploying it, as the function of this name, which need not exist.

        It runs with the function's settings and secrets, on the project's real database; in a dry run, without effect.
        The first call answers with a plan; the second one, with confirm, runs the code, and waits up to 45 seconds for
        its outcome and log.
        """
        function = look_up_function(self._client, name)
        draft = {
            "name": function["name"] if function else name,
            **wanted(name, function, code, files, entry_file=entry_file, language=language, entry_point=entry_point),
        }
        run = {"payload": {} if payload is None else payload, "dry_run": dry_run}
        facts = _facts(function) if function else {"function": name, "note": "There is no such function yet."}
        return self._plans.settle(
            "run draft",
            {"draft": draft, "revision": function["revision"] if function else None, **run},
            {**facts, **{key: draft[key] for key in CALLED_BY}, **run, "diff": difference(function, draft)},
            confirm,
            lambda: self._run(draft, run),
        )

    def _invoke_with_key(self, slug: str, payload: Any, confirm: str) -> Response:
        path = f"/api/functions/{quoted(slug)}"
        return self._client.call_with_key("POST", path, payload, headers=_once(confirm), seconds=REQUEST_SECONDS)

    def _run(self, draft: Data, run: Data) -> Data:
        build_packages(self._client, [draft], fresh=False)
        return self._outcome(self._client.call("POST", "/drafts", {**draft, **run}, headers=WAIT))

    def _outcome(self, response: Response) -> Data:
        id = response.invocation_id or response.body["invocation_id"]
        found = invocation(self._client, id)
        return {**found, **({"note": LATER} if found["status"] in UNFINISHED else {})}


def _once(confirm: str) -> dict[str, str]:
    """Headers of an invocation that happens once for each plan."""
    return {**WAIT, "Idempotency-Key": f"mcp-{confirm}"}


def _facts(function: Data) -> dict[str, Any]:
    """What matters about a run before it happens."""
    return {"function": function["slug"], **{key: function[key] for key in ("timeout_ms", "network", "enabled")}}
