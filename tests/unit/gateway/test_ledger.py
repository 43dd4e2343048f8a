"""What is in flight, from the access log alone."""

from __future__ import annotations

import json

from dedicated.gateway.accesslog import AccessLog
from dedicated.gateway.ledger import AVOIDED_S, FORGOTTEN_S, Ledger


def test_a_call_is_in_flight_from_its_check_to_its_end():
    ledger = Ledger()
    ledger.began("r1", "e", "a", 1.0)
    ledger.began("r1", "e", "a", 2.0)
    assert (ledger.in_flight("e"), ledger.total()) == (1, 1)
    ledger.ended("r1", "e", "a", "-", 3.0)
    ledger.ended("r1", "e", "a", "-", 3.0)
    assert (ledger.in_flight("e"), ledger.total(), ledger.last("e")) == (0, 0, 3.0)


def test_a_call_of_which_nothing_is_heard_is_forgotten():
    ledger = Ledger()
    ledger.began("r1", "e", "a", 1.0)
    ledger.sweep(1.0 + FORGOTTEN_S)
    assert ledger.in_flight("e") == 1
    ledger.sweep(1.1 + FORGOTTEN_S)
    assert ledger.in_flight("e") == 0 and ledger.last("e") == 1.0


def test_a_check_that_was_repeated_counts_once():
    ledger = Ledger()
    ledger.began("r1", "e", "a", 1.0)
    ledger.began("r1", "e", "b", 2.0)
    assert ledger.in_flight("e") == 1 and ledger.pick(["a", "b"]) == "a"


def test_the_least_loaded_is_picked_and_equals_take_turns():
    ledger = Ledger()
    assert sorted(ledger.pick(["a", "b", "c"]) for _ in range(3)) == ["a", "b", "c"]
    for number in range(3):
        ledger.began(f"r{number}", "e", "ab"[number % 2], 1.0)
    assert {ledger.pick(["a", "b"]) for _ in range(4)} == {"b"}


def test_an_address_that_could_not_be_connected_to_is_left_out_for_a_while():
    ledger = Ledger()
    ledger.ended("r1", "e", "a", "UF,URX", 1.0)
    assert {ledger.pick(["a", "b"]) for _ in range(4)} == {"b"} and ledger.pick(["a"]) == "a"
    ledger.sweep(1.0 + AVOIDED_S)
    assert {ledger.pick(["a", "b"]) for _ in range(4)} == {"a", "b"}


def test_what_is_in_flight_on_a_pod_is_known_by_its_name_or_counted_all_the_same():
    ledger = Ledger()
    ledger.began("r1", "e", "a", 1.0, "pod-a")
    ledger.began("r2", "e", "b", 1.0, "pod-b")
    ledger.began("r3", "other", "a", 1.0, "pod-a")
    assert ledger.in_flight_on("e", {"pod-a"}, {"b"}) == 1
    ledger.began("r4", "e", "a", 1.0)  # only the log told of it
    ledger.began("r5", "e", "b", 1.0)
    assert ledger.in_flight_on("e", {"pod-a"}, {"b"}) == 2
    ledger.over("r1")
    assert ledger.in_flight_on("e", {"pod-a"}, {"a", "b"}) == 0


def line(kind, request="r1", flags="-"):
    return json.dumps({"type": kind, "id": request, "endpoint": "e", "address": "a", "code": 200, "flags": flags, "first_byte_ms": 3}) + "\n"


def test_the_log_is_followed_through_cut_lines_and_new_files(tmp_path):
    path, ledger = tmp_path / "access.log", Ledger()
    log = AccessLog(path, ledger)
    log.read()
    path.write_text(line("DownstreamPeriodic") + "no json\n" + line("DownstreamPeriodic", "r2")[:20])
    log.read()
    assert ledger.in_flight("e") == 1
    with path.open("a") as file:
        file.write(line("DownstreamPeriodic", "r2")[20:])
    log.read()
    assert ledger.in_flight("e") == 2
    path.write_text(line("DownstreamEnd"))
    log.read()
    assert ledger.in_flight("e") == 1


def test_a_log_that_was_read_is_cut_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("dedicated.gateway.accesslog.CUT_BYTES", 100)
    path, ledger = tmp_path / "access.log", Ledger()
    log = AccessLog(path, ledger)
    with path.open("a") as envoy:
        for number in range(5):
            envoy.write(line("DownstreamPeriodic", f"r{number}"))
            envoy.flush()
            log.read()
    assert ledger.in_flight("e") == 5 and path.stat().st_size == 0


def test_what_was_logged_before_the_start_renews_and_counts_nothing(tmp_path):
    from dedicated.telemetry import metrics

    path, ledger = tmp_path / "access.log", Ledger()
    path.write_text(line("DownstreamPeriodic") + line("DownstreamEnd", "r2"))
    counter = metrics.GATEWAY_REQUESTS.labels("e", "200")
    before = counter._value.get()
    log = AccessLog(path, ledger)
    log.read()
    assert ledger.in_flight("e") == 1 and counter._value.get() == before
    with path.open("a") as file:
        file.write(line("DownstreamEnd"))
    log.read()
    assert ledger.in_flight("e") == 0 and counter._value.get() == before + 1
