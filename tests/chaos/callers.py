"""Those who invoke while everything breaks: each notes what was promised to it."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import psycopg

from tests.chaos.scene import Scene

PATIENCE_SECONDS = 90
INSERT = """insert into zmesh.invocations (function, payload, max_attempts, concurrency_key, priority, run_at)
            select %s, jsonb_set(%s::jsonb, '{n}', to_jsonb(%s + n)), %s, %s, %s,
                   now() + make_interval(secs => %s)
              from generate_series(1, %s) n
            returning id"""


@dataclass
class Promises:
    """What callers were told about each invocation: that it was accepted, or its result."""

    accepted: set[UUID] = field(default_factory=set)
    results: dict[UUID, tuple[int, Any]] = field(default_factory=dict)  # the number sent, the result received
    by_key: dict[str, UUID] = field(default_factory=dict)


class Callers:
    """Threads that call until `stop` is set, each through both replicas and by SQL."""

    def __init__(self, scene: Scene, project_urls: dict[str, str], functions: dict[str, list[str]], ms: int) -> None:
        """`functions` names those of each project; the first project is the one the API key belongs to."""
        self._scene = scene
        self._project_urls = project_urls
        self._functions = functions
        self._ms = ms
        self._numbers = itertools.count(1)
        self.stop = threading.Event()
        self.promises = Promises()

    def call(self, seed: int, pause: float) -> None:
        choose = random.Random(seed)
        with httpx.Client(timeout=PATIENCE_SECONDS) as client:
            while not self.stop.is_set():
                kind = choose.choice([self._call_api, self._call_api, self._insert])
                kind(client, choose)
                time.sleep(choose.uniform(0, 2 * pause))

    def _payload(self, choose: random.Random) -> dict[str, int]:
        failures = choose.choice([0, 0, 0, 0, 1, 5])
        return {"n": next(self._numbers) * 1000, "ms": choose.randint(0, self._ms), "failures": failures}

    def _call_api(self, client: httpx.Client, choose: random.Random) -> None:
        """One call, sent again with the same key until somebody answers."""
        [project, *_] = self._functions
        payload = self._payload(choose)
        key = f"key-{payload['n']}"
        headers = {"x-api-key": self._scene.parts.platform.api_key, "idempotency-key": key}
        if choose.random() < 0.5:
            headers["prefer"] = "respond-async"
        path = f"/api/functions/{choose.choice(self._functions[project])}"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = client.post(choose.choice(self._scene.urls) + path, json=payload, headers=headers)
            except httpx.HTTPError:
                time.sleep(0.1)
                continue
            if answer.status_code != 503:
                self._note(answer, key, payload["n"])
                return
            time.sleep(0.1)
        raise AssertionError(f"nobody answered {key} within {PATIENCE_SECONDS} s")

    def _note(self, answer: httpx.Response, key: str, number: int) -> None:
        assert answer.status_code in (200, 202, 500), (answer.status_code, answer.text)
        body = answer.json()
        id = UUID(body["invocation_id"])
        self.promises.accepted.add(id)
        assert self.promises.by_key.setdefault(key, id) == id
        if answer.status_code == 200:
            self.promises.results[id] = (number, body["result"])

    def _insert(self, _: httpx.Client, choose: random.Random) -> None:
        """One row or twenty; what fails was not accepted, as far as its sender knows."""
        project = choose.choice(list(self._functions))
        payload = self._payload(choose)
        values = (
            *(choose.choice(self._functions[project]), json.dumps(payload), payload["n"], choose.randint(1, 4)),
            *(choose.choice([None, "a", "b"]), choose.randint(-1, 1), choose.choice([0, 0, 2])),
            choose.choice([1, 1, 20]),
        )
        try:
            with psycopg.connect(self._project_urls[project], connect_timeout=5) as connection:
                ids = [id for (id,) in connection.execute(INSERT, values).fetchall()]
        except psycopg.Error:
            time.sleep(0.1)
        else:
            self.promises.accepted.update(ids)
