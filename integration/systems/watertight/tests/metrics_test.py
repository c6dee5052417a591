import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter, start_http_server

from integration.audit import Channel, Observation
from integration.clients.answers import ClientError
from integration.clients.connections import HttpConnections
from integration.systems.watertight.metrics import Metrics, observe_metrics, spans_ended

USER = "b5b4b1a0user"


@pytest.fixture
def registry() -> CollectorRegistry:
    """Figures of a process, with an innocent one among them."""
    registry = CollectorRegistry()
    Counter("requests", "Requests answered.", ("code",), registry=registry).labels("200").inc()
    return registry


@pytest.fixture
def url(registry: CollectorRegistry) -> Iterator[str]:
    """Where they are shown, by Prometheus' own server."""
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
async def metrics(url: str) -> AsyncIterator[Metrics]:
    """The observer, of one process."""
    async with HttpConnections(url) as connections:
        yield Metrics({"backend-1": connections})


def _planted(registry: CollectorRegistry) -> Counter:
    figure = Counter("spending", f"Of {USER}.", ("who",), registry=registry)
    figure.labels(f'a"{USER}').inc()
    return figure


async def test_labels_and_help_are_seen_and_may_name_nobody(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    """A figure with an identifier among its labels is seen with it, and so is its help."""
    _planted(registry)

    seen = list(observe_metrics(await metrics.scrape()))

    found = {str(each.data) for each in seen if USER in str(each.data)}
    assert {f"# HELP spending_total Of {USER}.", f'spending_total{{who="a\\"{USER}"}} 1.0'} <= found
    assert {(Channel.METRICS, (), "backend-1 metrics")} == {
        (each.channel, each.allowed, each.source) for each in seen
    }
    assert any('requests_total{code="200"} 1.0' == each.data for each in seen)


async def test_figure_that_is_gone_at_the_end_was_seen(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    """What stands there only during the run is seen then; what stays is given once."""
    figure = _planted(registry)
    followed = metrics.follow()
    seen: list[Observation] = []
    while not seen or not str(seen[-1].data).startswith("spending_created"):
        seen.append(await anext(followed))
    registry.unregister(figure)
    Counter("late", "Comes later.", registry=registry)
    late = await anext(followed)

    assert any(str(each.data).startswith("spending_total{") for each in seen)
    assert str(late.data).startswith("# HELP late_total")
    assert not any(USER in str(each.data) for each in observe_metrics(await metrics.scrape()))


async def test_process_that_does_not_answer_is_no_clean_one() -> None:
    """Nothing is taken for seen that was not."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        async with HttpConnections(f"http://127.0.0.1:{silent.getsockname()[1]}") as connections:
            with pytest.raises(ClientError):
                await Metrics({"auth": connections}).scrape()


def test_services_count_their_spans() -> None:
    """Replicas of one service are counted together; who does not count is an error."""
    scraped = {
        "auth": ["watertight_spans_total 7.0"],
        "backend-1": ["# HELP watertight_spans_total x", "watertight_spans_total 2.0"],
        "backend-2": ["watertight_spans_total 1.0"],
    }

    assert {"auth": 7, "backend": 3} == spans_ended(scraped)
    with pytest.raises(KeyError, match="analytics"):
        spans_ended({**scraped, "analytics": []})
