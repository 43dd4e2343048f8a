"""A log as a person would have seen it."""

from __future__ import annotations

import time

import pytest

from dedicated.diagnosis.tails import MAX_LINE, readable, shown_tail


@pytest.mark.parametrize(
    ("wrote", "shown"),
    [
        ("Loading: 10%\rLoading: 50%\rLoading: 100%\ndone", "Loading: 100%\ndone"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("half\r", "half"),
        ("\x1b[32mINFO\x1b[0m ready", "INFO ready"),
        ("token hf_abcdefghijklmnop\r", "token hf_***"),
        ("\ufffd\ufffd fine", "\ufffd\ufffd fine"),
    ],
    ids=["a progress bar", "line ends of Windows", "a return at the end", "colours", "a secret", "what was no text"],
)
def test_what_a_terminal_would_show(wrote, shown):
    assert readable(wrote) == shown


def test_of_an_endless_line_the_beginning_and_the_end_are_kept():
    line = readable("begin " + "x" * 1_000_000 + " end")
    assert len(line) < MAX_LINE + 10 and line.startswith("begin") and line.endswith("end")


@pytest.mark.parametrize("text", ["a\r" * 300_000, "x" * 1_000_000, "\r" * 1_000_000, "hf_" * 300_000], ids=["bars", "one line", "returns", "marks"])
def test_no_text_costs_more_than_a_moment(text):
    began = time.process_time()
    readable(text)
    assert time.process_time() - began < 5.0


def test_a_secret_in_the_middle_of_an_endless_line_is_not_cut_in_half():
    secret = "hf_" + "a" * 40
    for shift in range(60):
        assert "aaaa" not in readable("x" * (1500 - shift) + " " + secret + " " + "y" * 5000)


@pytest.mark.parametrize("before", ["", "x" * 50_000, "short\n" * 20_000], ids=["alone", "after an endless line", "after many lines"])
def test_of_a_long_log_the_end_is_shown_without_secrets(before):
    shown = shown_tail(before + "\ntoken hf_abcdefghijklmnop\nlast words", 60)
    assert shown.endswith("token hf_***\nlast words") and len(shown) <= 60


def test_a_private_key_whose_beginning_is_far_above_is_not_shown():
    key = "-----BEGIN PRIVATE KEY-----\n" + "c2VjcmV0\n" * 6000 + "-----END PRIVATE KEY-----\nlast words"
    assert "c2Vj" not in shown_tail(key, 2048)
