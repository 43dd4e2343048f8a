"""Every metric. Base units; labels are bounded: no user, no pod, no request."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECONCILE_SECONDS = Histogram(
    "dedicated_reconcile_duration_seconds",
    "Duration of one pass over one endpoint.",
    ["outcome"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0),
)
RECONCILE_BUGS = Counter("dedicated_reconcile_bugs_total", "Passes that ended in an error of the operator's own.")
API_REQUESTS = Counter("dedicated_api_requests_total", "Requests to the API server.", ["verb", "code"])
PLAN_ERROR = Histogram(
    "dedicated_planner_estimate_error_ratio",
    "What an engine reported of its memory against the plan, less one: above zero where more was needed.",
    ["what"],
    buckets=(-0.5, -0.2, -0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)
DIAGNOSES = Counter("dedicated_diagnosis_total", "Failures that were diagnosed, by cause.", ["reason"])
LEADER = Gauge("dedicated_leader", "1 while this operator holds the lease.")
WEIGHTS_FETCHED_BYTES = Counter("dedicated_weights_fetched_bytes_total", "Bytes of weights that pods have fetched, by where from.", ["source"])
HUB_REQUESTS = Counter("dedicated_hub_requests_total", "Requests to the hub; code none where no answer came.", ["kind", "code"])
WAKE_SECONDS = Histogram(
    "dedicated_wake_duration_seconds",
    "Duration of wakes that succeeded, by stage: schedule, node, image, fetch, load, and total.",
    ["stage"],
    buckets=(0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1800.0),
)
WAKES = Counter("dedicated_wakes_total", "Wakes that ended, by the reason of their failure; empty where they succeeded.", ["reason"])
SLEPT_SECONDS = Counter("dedicated_slept_seconds_total", "How long endpoints slept, counted when a sleep ends.")
SAVED_ACCELERATOR_SECONDS = Counter("dedicated_saved_accelerator_seconds_total", "Accelerators that sleeping endpoints did not hold, times seconds.")
SAVED_USD = Counter("dedicated_saved_usd_total", "What these accelerators would have cost at their class's price, in US dollars.")
HANDOVER_WAITING = Gauge(
    "dedicated_handover_waiting_endpoints", "Endpoints whose pods do not go yet, since this gateway has not answered.", ["gateway"]
)

GATEWAY_REQUESTS = Counter(
    "dedicated_gateway_requests_total", "Calls that ended at the gateway; endpoint is empty where none was called.", ["endpoint", "code"]
)
GATEWAY_CHECKS = Counter("dedicated_gateway_checks_total", "Decisions: routed, refused, not-now, failed.", ["decision"])
GATEWAY_CHECK_SECONDS = Histogram(
    "dedicated_gateway_check_duration_seconds",
    "Duration of one decision.",
    buckets=(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 1.0),
)
GATEWAY_FIRST_BYTE_SECONDS = Histogram(
    "dedicated_gateway_first_byte_seconds",
    "From a call's arrival to the first byte of the engine's answer.",
    buckets=(0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0),
)
GATEWAY_BYTES = Counter("dedicated_gateway_bytes_total", "Bytes of bodies: received from callers, sent to them.", ["direction"])
GATEWAY_BROKEN = Counter("dedicated_gateway_broken_total", "Calls that ended before their answer was whole, by Envoy's response flag.", ["cause"])
GATEWAY_IN_FLIGHT = Gauge("dedicated_gateway_in_flight_requests", "Calls that engines are answering now.")
GATEWAY_WAITING = Gauge("dedicated_gateway_waiting_requests", "Calls that are held until their endpoint answers.")
GATEWAY_HELD_SECONDS = Histogram(
    "dedicated_gateway_held_seconds",
    "How long calls were held that were then answered.",
    buckets=(0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0),
)
GATEWAY_KEYS = Gauge("dedicated_gateway_keys", "API keys that the gateway knows.")
GATEWAY_ENDPOINTS = Gauge("dedicated_gateway_endpoints", "Endpoints that the gateway knows.")
GATEWAY_ACTIVITY_WRITES = Counter(
    "dedicated_gateway_activity_writes_total", "Writes of activity Leases, wakes and last use of keys.", ["what", "outcome"]
)
