"""The stub engine: it speaks like an engine, and it fails on demand."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from hack.cluster.processes import free_port
from hack.images.build import stub_program
from tests.support.cluster import wait_until

pytestmark = pytest.mark.timeout(30)  # a log line that never comes would be waited for

CHAT = {"model": "stub", "messages": [{"role": "user", "content": "hi"}]}
FAST = "--tokens-per-second=1000"
SOON_S = 0.3
"""How long an answer that never comes is waited for."""
NO_ANSWER = (TimeoutError, http.client.HTTPException, ConnectionError)


@pytest.fixture(scope="module")
def program():
    return stub_program()


def accepts(port):
    with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port))):
        return True
    return False


@contextmanager
def running(program, *args, **env):
    port = free_port()
    process = subprocess.Popen([program, f"--port={port}", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, text=True)
    try:
        wait_until("the engine to listen", lambda: process.poll() is not None or "--wrong-port" in args or accepts(port), 5, every_s=0.005)
        yield port, process
    finally:
        process.kill()
        process.communicate()


def call(port, method, path, body=None, key=None, timeout=10):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request(method, path, json.dumps(body) if body else None, {"Authorization": f"Bearer {key}"} if key else {})
        response = connection.getresponse()
        return response.status, response.read().decode()


def chat(port):
    return call(port, "POST", "/v1/chat/completions", CHAT)[0]


def is_silent(port, method, path, body=None):
    try:
        call(port, method, path, body, timeout=SOON_S)
    except TimeoutError:
        return True
    return False


def arrived(port, body):
    """The status and what came of the body before nothing more did."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SOON_S)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        response, got = connection.getresponse(), b""
        with pytest.raises(TimeoutError):
            while part := response.read1():
                got += part
        return response.status, got.decode()


def line_with(process, words):
    """The next line of its log with these words."""
    return next(line for line in process.stdout if words in line)


def resident_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def test_it_streams_and_ends_with_done(program):
    with running(program, "--tokens=3", "--tokens-per-second=1000") as (port, _):
        status, text = call(port, "POST", "/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True}})
    lines = [line for line in text.split("\n\n") if line]
    assert status == 200 and lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]) == "token0 token1 token2 "
    assert chunks[-1]["usage"]["completion_tokens"] == 3


def test_it_answers_whole_lists_its_model_and_refuses_another(program):
    with running(program, "--tokens=2", "--tokens-per-second=1000") as (port, _):
        assert json.loads(call(port, "POST", "/v1/completions", {"model": "stub", "prompt": "x"})[1])["choices"][0]["text"] == "token0 token1 "
        assert json.loads(call(port, "GET", "/v1/models")[1])["data"][0]["id"] == "stub"
        assert call(port, "POST", "/v1/completions", {"model": "other"})[0] == 404
        assert 'vllm:num_requests_running{model_name="stub"} 0' in call(port, "GET", "/metrics")[1]


def test_it_demands_its_key_but_not_for_its_health(program):
    with running(program, "--tokens-per-second=1000", DEDICATED_ENGINE_KEY="secret") as (port, _):
        assert call(port, "POST", "/v1/chat/completions", CHAT)[0] == 401
        assert call(port, "POST", "/v1/chat/completions", CHAT, key="secret")[0] == 200
        assert call(port, "GET", "/health")[0] == 200


def test_it_is_not_healthy_before_its_delay(program):
    with running(program, "--start-delay=300ms") as (port, _):
        assert call(port, "GET", "/health")[0] == 503
        wait_until("the delay to end", lambda: call(port, "GET", "/health")[0] == 200, 5, every_s=0.02)


def test_an_unknown_flag_is_exit_code_2(program):
    done = subprocess.run([program, "--no-such-flag"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no-such-flag" in done.stderr


def test_it_prints_its_log_and_exits_as_told(program, tmp_path):
    (tmp_path / "log").write_text("CUDA out of memory")
    command = [program, f"--port={free_port()}", f"--log-file={tmp_path / 'log'}", "--exit-after=50ms", "--exit-code=42"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    assert (done.returncode, "CUDA out of memory" in done.stdout) == (42, True)


def test_sigterm_lets_a_stream_in_flight_end(program):
    with running(program, "--tokens=5", "--tokens-per-second=20") as (port, process):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/v1/chat/completions", json.dumps({**CHAT, "stream": True}))
        response = connection.getresponse()
        process.terminate()
        assert response.read().decode().endswith("data: [DONE]\n\n")
        assert process.wait(5) == 0


def test_it_ends_by_request_where_that_is_allowed(program):
    with running(program, "--control") as (port, process):
        with pytest.raises(NO_ANSWER):
            call(port, "POST", "/control/exit?code=9")
        assert process.wait(5) == 9


@pytest.mark.parametrize(
    ("what", "silent"),
    [("health", ["/health"]), ("requests", ["/v1/models"]), ("all", ["/health", "/v1/models", "/metrics"])],
)
def test_it_hangs_where_it_is_told_to(program, what, silent):
    with running(program, f"--hang={what}") as (port, _):
        assert [path for path in ("/health", "/v1/models", "/metrics") if is_silent(port, "GET", path)] == silent


def test_it_hangs_after_some_requests_only(program):
    with running(program, FAST, "--hang=all", "--hang-after-requests=2") as (port, _):
        assert [chat(port), chat(port)] == [200, 200]
        assert is_silent(port, "POST", "/v1/chat/completions", CHAT) and is_silent(port, "GET", "/health")


def test_it_crashes_once_enough_requests_were_answered(program):
    with running(program, FAST, "--exit-after-requests=2", "--exit-code=77") as (port, process):
        assert chat(port) == 200
        assert call(port, "GET", "/health")[0] == 200 and process.poll() is None
        assert chat(port) == 200
        assert process.wait(5) == 77


def test_it_listens_on_another_port_than_it_was_asked(program):
    with running(program, "--wrong-port") as (port, process):
        other = int(line_with(process, "serving").split()[-1])
        assert other != port and call(other, "GET", "/health")[0] == 200 and not accepts(port)


@pytest.mark.parametrize("stream", [True, False])
def test_a_mute_engine_sends_headers_and_no_byte_more(program, stream):
    with running(program, FAST, "--mute") as (port, _):
        assert arrived(port, {**CHAT, "stream": stream}) == (200, "")
        assert call(port, "GET", "/health")[0] == 200


def test_it_falls_mute_in_the_middle_of_a_stream(program):
    with running(program, FAST, "--mute-after-tokens=2") as (port, _):
        status, text = arrived(port, {**CHAT, "stream": True})
        assert (status, text.count("data: "), "token1" in text, "token2" in text) == (200, 2, True, False)


def test_a_deaf_engine_goes_on_after_sigterm(program):
    with running(program, "--ignore-sigterm") as (port, process):
        process.terminate()
        line_with(process, "ignoring SIGTERM")
        process.terminate()
        line_with(process, "ignoring SIGTERM")
        assert call(port, "GET", "/health")[0] == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0


def test_it_takes_memory_itself(program):
    with running(program, "--allocate=64Mi", "--allocate-after=10ms") as (_, process):
        line_with(process, "holding 67108864 bytes")
        assert resident_mib(process.pid) > 64


@pytest.mark.parametrize(("child_exit", "ended"), [("keep", None), ("exit", 0)])
def test_it_takes_memory_in_a_child_and_outlives_it(program, child_exit, ended):
    with running(program, "--allocate=64Mi", "--allocate-in=child", f"--child-exit={child_exit}") as (port, process):
        child = int(line_with(process, "holding 67108864 bytes in child").split()[-1])
        assert child != process.pid and resident_mib(child) > 64 > resident_mib(process.pid)
        os.kill(child, signal.SIGKILL)
        assert "signal: killed" in line_with(process, "child ended")
        if ended is None:
            assert call(port, "GET", "/health")[0] == 200
        else:
            assert process.wait(5) == ended


def test_its_child_does_not_outlive_it(program):
    with running(program, "--allocate=1Mi", "--allocate-in=child") as (_, process):
        child = int(line_with(process, "holding 1048576 bytes in child").split()[-1])
        process.kill()
        wait_until("the child to end", lambda: not Path(f"/proc/{child}/exe").exists(), 5, every_s=0.005)


def test_it_fails_by_request_where_that_is_allowed(program):
    with running(program, FAST, "--control") as (port, process):
        assert call(port, "POST", "/control/mute?after-tokens=1")[0] == 200
        assert arrived(port, {**CHAT, "stream": True})[1].count("data: ") == 1
        assert call(port, "POST", "/control/mute?after-tokens=-1")[0] == 200
        assert chat(port) == 200
        assert call(port, "POST", "/control/hang?what=health")[0] == 200
        assert is_silent(port, "GET", "/health")
        assert call(port, "POST", "/control/hang?what=none")[0] == 200
        assert call(port, "GET", "/health")[0] == 200
        assert call(port, "POST", "/control/allocate?size=64Mi&in=parent")[0] == 200
        line_with(process, "holding 67108864 bytes")
        assert resident_mib(process.pid) > 64


@pytest.mark.parametrize("path", ["hang?what=everything", "mute?after-tokens=few", "allocate", "allocate?size=1Mi&in=nowhere"])
def test_a_command_it_does_not_understand_is_a_bad_request(program, path):
    with running(program, "--control") as (port, _):
        assert call(port, "POST", f"/control/{path}")[0] == 400


def test_without_control_it_takes_no_commands(program):
    with running(program) as (port, _):
        assert call(port, "POST", "/control/hang")[0] == 404


@pytest.mark.parametrize(
    ("flavour", "line"),
    [
        ("vllm", 'vllm:request_success_total{finished_reason="stop",model_name="stub"} 1'),
        ("sglang", 'sglang:num_requests_total{model_name="stub"} 1'),
        ("llamacpp", "llamacpp:tokens_predicted_total 16"),
    ],
)
def test_its_metrics_have_the_names_of_the_engine_it_stands_for(program, flavour, line):
    with running(program, FAST, STUB_METRICS_FLAVOUR=flavour) as (port, _):
        assert chat(port) == 200
        text = call(port, "GET", "/metrics")[1]
    assert line in text.splitlines()
    assert {name.partition(":")[0] for name in text.splitlines() if not name.startswith("#")} == {flavour}


def test_it_can_have_no_metrics(program):
    with running(program, "--metrics-flavour=none") as (port, _):
        assert call(port, "GET", "/metrics")[0] == 404


@pytest.mark.parametrize(
    "flag", ["--hang=some", "--allocate=5Mb", "--allocate=Mi", "--allocate-in=both", "--child-exit=never", "--metrics-flavour=tgi"]
)
def test_a_flag_with_a_value_that_means_nothing_is_exit_code_2(program, flag):
    assert subprocess.run([program, flag], capture_output=True, check=False, timeout=10).returncode == 2
