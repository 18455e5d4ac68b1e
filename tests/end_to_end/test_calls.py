"""Functions that call functions, with fewer slots than invocations that wait."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.platform import Parts, Platform

CODE = {
    "python": """
def handler(payload, zmesh):
    below = payload["n"] - 1
    return 0 if below < 0 else 1 + zmesh.invoke(payload.get("next", "down-javascript"), {**payload, "n": below})
""",
    "javascript": """
exports.handler = async (payload, zmesh) => {
  const below = payload.n - 1;
  return below < 0 ? 0 : 1 + (await zmesh.invoke(payload.next ?? "down-python", { ...payload, n: below }));
};
""",
}
FAN = """
exports.handler = async (payload, zmesh) => {
  const all = [...Array(payload.width).keys()];
  const results = await Promise.all(all.map(() => zmesh.invoke("down-python", { n: 1 })));
  return results.reduce((sum, n) => sum + n, 0);
};
"""
FOREVER = {
    "python": "def handler(payload, zmesh):\n    return zmesh.invoke('forever-python')\n",
    "javascript": "exports.handler = (payload, zmesh) => zmesh.invoke('forever-javascript');",
}


@pytest.fixture
def platform(parts: Parts) -> Platform:
    """With one slot on the only listener."""
    for language, code in CODE.items():
        parts.platform.deploy(f"down-{language}", code, language, timeout_ms=60000)
        parts.platform.deploy(f"forever-{language}", FOREVER[language], language, timeout_ms=60000)
    parts.platform.deploy("fan", FAN, "javascript", timeout_ms=60000)
    parts.start_listener(20, ZMESH_SLOTS="1")
    return parts.platform


@pytest.mark.timeout(180)
def test_chains_fans_and_circles_end_with_a_single_slot(platform: Platform) -> None:
    assert platform.result("down-python", {"n": 10}) == 10  # as deep as allowed, the languages in turns
    assert platform.result("fan", {"width": 5}) == 5
    with ThreadPoolExecutor(6) as threads:  # all of them wait for their turn, then for what they called
        assert list(threads.map(lambda _: platform.result("down-javascript", {"n": 2}), range(6))) == [2] * 6
    for language in FOREVER:
        answer = platform.invoke(f"forever-{language}")
        assert answer.status_code == 500
        error = answer.json()["error"]
        assert error["type"] == "InvocationError"
        assert "is 11 levels deep, and 10 are allowed" in error["message"]


@pytest.mark.timeout(180)
def test_the_callers_trace_reaches_the_function_and_what_it_calls(platform: Platform) -> None:
    code = "def handler(payload, zmesh):\n    return [zmesh.request.headers['traceparent'], zmesh.invoke('inner')]\n"
    platform.deploy("inner", "exports.handler = (payload, zmesh) => zmesh.traceparent;", "javascript")
    platform.deploy("outer", code)
    given = f"00-{'a1' * 16}-{'b2' * 8}-01"
    answer = platform.invoke("outer", headers={"traceparent": given}).json()
    seen, inner = answer["result"]
    assert seen == given
    assert inner.startswith(f"00-{'a1' * 16}-")
    [called] = platform.history("inner")
    details = platform.request("GET", f"/invocations/{called['id']}").json()
    assert details["traceparent"] == inner
    assert (details["parent_id"], details["depth"]) == (answer["invocation_id"], 1)
