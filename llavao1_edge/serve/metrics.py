"""What `/metrics` tells Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Of one server: its own registry, so that several may run in one process (in tests)."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "llavao1_requests", "Chat completions by status", ["status"], registry=registry
        )
        self.refused = Counter(
            "llavao1_queue_full", "Requests that the queue had no room for", registry=registry
        )
        self.deaths = Counter(
            "llavao1_engine_deaths", "How often the engine's process ended", registry=registry
        )
        self.waiting = Gauge("llavao1_requests_waiting", "Questions that wait", registry=registry)
        self.running = Gauge("llavao1_requests_running", "Questions in work", registry=registry)
        self.prompt_tokens = Counter(
            "llavao1_prompt_tokens", "Tokens of prompts, cached ones included", registry=registry
        )
        self.cached_tokens = Counter(
            "llavao1_cached_tokens", "Tokens of prompts that were in the cache", registry=registry
        )
        self.sampled_tokens = Counter(
            "llavao1_sampled_tokens", "Tokens that candidates sampled", registry=registry
        )
        self.first_token = Histogram(
            "llavao1_time_to_first_token_seconds",
            "From the request to the first text",
            buckets=SECONDS,
            registry=registry,
        )
        self.latency = Histogram(
            "llavao1_request_seconds",
            "From the request to the end of the answer",
            buckets=SECONDS,
            registry=registry,
        )

    def text(self) -> bytes:
        return bytes(generate_latest(self._registry))
