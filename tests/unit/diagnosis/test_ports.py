"""Where an engine listens, in its own words."""

from __future__ import annotations

import pytest

from dedicated.diagnosis.ports import listening


@pytest.mark.parametrize(
    ("line", "port", "itself_only"),
    [
        ("INFO:     Uvicorn running on http://0.0.0.0:8001 (Press CTRL+C to quit)", 8001, False),
        ("(APIServer pid=1) INFO 03-01 10:00:00 [launcher.py:9] Starting vLLM API server 0 on http://0.0.0.0:9000", 9000, False),
        ("main: server is listening on http://127.0.0.1:8080 - starting the main loop", 8080, True),
        ("2026-03-01T10:00:00Z serving stub on port 8001", 8001, False),
        ("[INFO] Listening at: http://0.0.0.0:5000 (12)", 5000, False),
        (" * Running on http://127.0.0.1:5000", 5000, True),
        ("server started on [::]:8443", 8443, False),
        ("listening on :3000", 3000, False),
        ("Uvicorn running on http://localhost:8000", 8000, True),
    ],
)
def test_an_engine_says_where_it_listens(line, port, itself_only):
    found = listening(f"loading\n{line}\nready")
    assert (found.port, found.itself_only) == (port, itself_only)


@pytest.mark.parametrize(
    "line", ["", "loading 10:20:30", "INFO 10.0.0.9:4242 connected", "serving model acme/x-8000", "port 8000", "listening for 100000"]
)
def test_what_names_no_address_is_none(line):
    assert listening(line) is None


def test_the_last_word_counts():
    assert listening("listening on :1111\nlistening on :2222").port == 2222
