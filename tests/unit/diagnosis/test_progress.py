"""A start that goes on is told from one that hangs, by what it says."""

from __future__ import annotations

import pytest

from dedicated.core.clock import from_rfc3339
from dedicated.diagnosis.progress import stamped

BEGAN = from_rfc3339("2026-03-01T10:00:00Z")


def said(*lines: str) -> str:
    """One line a minute, as the kubelet stamps them."""
    return "\n".join(f"2026-03-01T10:{minute:02d}:00.123456789Z {line}" for minute, line in enumerate(lines))


@pytest.mark.parametrize(
    ("lines", "minute"),
    [
        (["a", "b"], 1),
        (["a", "a", "a"], 0),
        (["Loading shards: 10% | 1/10 [00:10<01:30]", "Loading shards: 20% | 2/10 [00:20<01:20]"], 1),
        (["Loading shards: 10% | 1/10 [00:10<01:30]", "Loading shards: 10% | 1/10 [01:10<09:30]"], 0),
        (["INFO 03-01 10:00:00 [core.py:1] loading layer 1", "INFO 03-01 10:01:00 [core.py:1] loading layer 2"], 1),
        (["loading", "INFO 03-01 10:01:00 [x.py:1] No available shared memory broadcast block found in 60 seconds."], 0),
        (["loading", "Waiting for 1 local core engine proc(s) to start.", "Waiting for 2 local core engine proc(s) to start."], 0),
        (["loading", 'INFO: 10.0.0.1:1 - "GET /health HTTP/1.1" 503', 'INFO: 10.0.0.1:2 - "GET /health HTTP/1.1" 503'], 0),
        (["loading", "step took 3.2 s", "step took 4.9 s"], 1),
        (["10%\r20%\r30%", "10%\r20%\r40%"], 1),
    ],
    ids=[
        "another line",
        "the same again",
        "a bar that moves",
        "a bar that stands, with a clock",
        "a number that grows",
        "a broadcast that waits",
        "words of waiting",
        "probes in the access log",
        "the same with other times",
        "a bar of carriage returns",
    ],
)
def test_progress_is_something_new(lines, minute):
    text, at = stamped(said(*lines))
    assert at == BEGAN + 60 * minute and text == "\n".join(lines)


def test_a_log_without_timestamps_or_words_tells_no_time():
    assert stamped("a\nb") == ("a\nb", None) and stamped("") == ("", None)
