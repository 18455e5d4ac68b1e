"""What functions and clients choose makes no series of its own."""

from __future__ import annotations

from http import HTTPStatus

from observing.events import RequestAnswered
from observing.metrics import METHODS, ApiMetrics


def test_statuses_and_methods_that_others_choose_make_few_series() -> None:
    metrics = ApiMetrics("1")
    for method in (*METHODS, "BREW", "brew", "X" * 100):
        for status in range(600):
            metrics.observe(RequestAnswered(method, "/api/functions/{slug}", "/", status, 1.0))
    [requests] = [family for family in metrics.registry.collect() if family.name == "zmesh_http_requests"]
    labels = [sample.labels for sample in requests.samples]
    assert {label["method"] for label in labels} == {*METHODS, "other"}
    assert {label["status"] for label in labels} == {"0", "other", *(str(int(status)) for status in HTTPStatus)}
    assert sum(sample.value for sample in requests.samples) == 600 * (len(METHODS) + 3)
