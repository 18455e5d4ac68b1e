"""docs/reference/observability.md has every event and metric of the code and no others; the guide names no others."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from itertools import product
from typing import Any, Literal, get_args, get_origin, get_type_hints
from uuid import UUID

import yaml
from prometheus_client.core import Metric

from observing import events
from observing.events import AttemptEnded, Event
from observing.metrics import ApiMetrics, ListenerMetrics, Metrics
from sql.monitoring import QueueFigures
from tests.platform import REPOSITORY

PAGE = (REPOSITORY / "docs" / "reference" / "observability.md").read_text("utf-8")
GUIDE = (REPOSITORY / "docs" / "guides" / "monitoring.md").read_text("utf-8")
METRIC = re.compile(r"\bzmesh_[a-z_]+")
OF_LOG_LINES = {"time", "level", "event", "message", "request_id", "traceback", "logger"}


def listed(*headings: str) -> list[str]:
    """The rows of the table under a heading."""
    part = PAGE
    for heading in headings:
        part = part.split(f"\n{heading}\n", 1)[1]
    lines = part.split("\n#", 1)[0].splitlines()
    return [line for line in lines if line.startswith("| `")]


def all_events() -> list[type[Event]]:
    """Without the classes that dataclass(slots=True) replaced."""
    return [found for found in Event.__subclasses__() if getattr(events, found.__name__) is found]


def event_row(event: type[Event]) -> str:
    kinds = get_type_hints(event)
    names = [f"`{field.name}`" for field in fields(event) if kinds[field.name] is not BaseException]
    assert event.__doc__ is not None
    level, when = logging.getLevelName(event.level).lower(), " ".join(event.__doc__.split())
    return f"| `{event.name()}` | {level} | {', '.join(names)} | {when} |"


def api_metrics() -> ApiMetrics:
    metrics = ApiMetrics("1")
    watch(metrics)
    metrics.watch_http(lambda: 0, lambda: 0)
    metrics.watch_calls(lambda: 0)
    return metrics


def listener_metrics() -> ListenerMetrics:
    metrics = ListenerMetrics("1")
    watch(metrics)
    metrics.watch_runs(lambda: 0, 1, lambda: True)
    metrics.watch_sandbox("full", "root", "forked", lambda: {"python": 0})
    return metrics


def watch(metrics: Metrics) -> None:
    metrics.watch_loop(lambda: 0.0)
    metrics.watch_pool(dict)


EXAMPLES: dict[Any, list[Any]] = {
    str: ["x"],
    int: [2],
    float: [2.0],
    bool: [True, False],
    UUID: [UUID(int=1)],
    BaseException: [ValueError()],
    str | None: ["memory_limit", "platform_error"],
    tuple[str, ...]: [("x",)],
}


def examples(kind: Any) -> list[Any]:
    """Values of a field's type."""
    return [get_args(kind)[0]] if get_origin(kind) is Literal else EXAMPLES[kind]


def examples_of(event: type[Event]) -> Iterator[Event]:
    hints = get_type_hints(event)
    for values in product(*(examples(hints[field.name]) for field in fields(event))):
        yield event(*values)


def samples(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """What is exposed, by the metric's name."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for metric in metrics.registry.collect():
        found[name_of(metric)] = {(s.name, *map(str, s.labels.items())): s.value for s in metric.samples}
    return found


def rows(metrics: Metrics) -> dict[str, str]:
    """The rows of the table, by the metric's name."""
    sources: dict[str, set[str]] = defaultdict(set)
    labels: dict[str, set[str]] = defaultdict(set)
    for event in all_events():
        for example in examples_of(event):
            before = samples(metrics)
            metrics.observe(example)
            for name, values in samples(metrics).items():
                if name.startswith("zmesh_") and values != before[name]:
                    sources[name].add(event.name())
    families = {name_of(family): family for family in metrics.registry.collect()}
    for name, family in families.items():
        for sample in family.samples:
            labels[name] |= set(sample.labels) - {"le"}
    return {
        name: " ".join(
            (
                f"| `{name}` | {family.type} | {_code(labels[name])} |",
                f"{_code(sources[name])} | {family.documentation} |",
            )
        )
        for name, family in families.items()
    }


def name_of(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _code(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def expected() -> tuple[list[str], list[str], list[str]]:
    """The rows for both processes, the API and the listener."""
    api, listener = rows(with_queue(api_metrics())), rows(listener_metrics())
    both = [name for name in api if name in listener]
    return (
        [api[name] for name in both],
        [api[name] for name in api if name not in both],
        [listener[name] for name in listener if name not in both],
    )


def with_queue(metrics: ApiMetrics) -> ApiMetrics:
    metrics.queue.figures = QueueFigures(1, 1, 1, 1, 1.0, 1.0, 1, 1.0, 1, 1)
    return metrics


def test_the_page_lists_every_event_with_its_level_and_fields_and_no_other() -> None:
    assert listed("## Events") == [event_row(event) for event in all_events()]


def test_the_page_lists_every_metric_with_its_labels_and_the_event_it_comes_from_and_no_other() -> None:
    both, api, listener = expected()
    assert listed("## Metrics", "### API and listener") == both
    assert listed("## Metrics", "### API") == api
    assert listed("## Metrics", "### Listener") == listener


def test_the_guide_names_metrics_that_exist() -> None:
    known = {name for metrics in (api_metrics(), listener_metrics()) for name in samples(metrics)}
    named = {re.sub("_bucket$", "", name) for name in METRIC.findall(GUIDE)}
    assert named
    assert named <= known


def test_the_guide_shows_the_scrape_configuration_that_is_deployed() -> None:
    [shown] = re.findall(r"^```yaml prometheus\n((?s:.*?))^```$", GUIDE, re.MULTILINE)
    assert shown == (REPOSITORY / "deploy" / "prometheus.yml").read_text()
    [job] = yaml.safe_load(shown)["scrape_configs"]
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    [targets] = job["dns_sd_configs"]
    for name in targets["names"]:
        assert int(services[name]["environment"]["ZMESH_ADMIN_PORT"]) == targets["port"]
        assert not any(targets["port"] == port.get("target") for port in services[name].get("ports", []))


def test_no_field_of_an_event_takes_the_place_of_a_part_of_the_log_line() -> None:
    for event in all_events():
        assert not OF_LOG_LINES & {field.name for field in fields(event)}, event


def test_an_error_type_that_is_no_limit_makes_no_label() -> None:
    metrics = listener_metrics()
    ended = AttemptEnded(UUID(int=1), 1, "python", "error", "EvilError", 0.0, 0.0, 0.0, 0)
    metrics.observe(ended)
    assert "EvilError" not in str(samples(metrics))
