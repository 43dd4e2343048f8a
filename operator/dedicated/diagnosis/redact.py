"""
Logs for the status: bounded, and without what must not be read there.

Two kinds of rule: secrets that are known by their own form (a hub token, a JWT) wherever they stand, and values that stand where secrets stand (a
header, a parameter of a signed URL, a variable whose name says so). What is taken out becomes `***`; doing it twice changes nothing. Text is redacted
before it is cut: the other way round half a secret would pass.
"""

from __future__ import annotations

import re

Rule = tuple[re.Pattern[str], str]


def _rules(*rules: tuple[str, str]) -> tuple[Rule, ...]:
    return tuple((re.compile(pattern, re.IGNORECASE), replacement) for pattern, replacement in rules)


_QUOTE = r"""\\?["']?"""
_SETS = rf"""{_QUOTE}[ \t]*(?:=|:|%3D)[ \t]*(?:b(?=["']))?{_QUOTE}"""
"""From a name to its value, in any of: shell, YAML, JSON, a Python dict, an HTTP header, an encoded URL."""
_VALUE = r"""[^\s"'\\,;&<>(){}\[\]*]"""

# By their form. Where a form is from: hub tokens huggingface.co, `dk-` our own keys, AWS IAM's prefixes of identifiers, GitHub's and GitLab's token
# formats, RFC 7519 (JWT), RFC 7468 (PEM); the others as their issuers document them.
_KNOWN = _rules(
    (r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", "*** private key ***"),
    (r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?", "***"),
    (r"(?<![A-Za-z0-9])(hf|api_org)_[A-Za-z0-9]{8,}", r"\1_***"),
    (r"(?<![A-Za-z0-9])dk-[A-Za-z0-9]{20,}", "dk-***"),
    (r"(?<![A-Za-z0-9])(sk|nvapi|glpat|pypi|xox[abprs])-[A-Za-z0-9_-]{16,}", r"\1-***"),
    (r"(?<![A-Za-z0-9])(gh[opsur]|github_pat|gsk|npm)_[A-Za-z0-9_]{16,}", r"\1_***"),
    (r"(?<![A-Za-z0-9])(AKIA|ASIA)[A-Z0-9]{16}", r"\1***"),
    (r"(?<![A-Za-z0-9])(AIza|ya29\.)[A-Za-z0-9_-]{16,}", r"\1***"),
)
# By their place.
_PLACES = _rules(
    (r"\b((?:bearer|basic)[ \t]+)[A-Za-z0-9._~+/=-]{8,}", r"\1***"),
    (rf"((?:proxy-)?authorization{_SETS}(?:[A-Za-z][\w-]*[ \t]+)?){_VALUE}+", r"\1***"),
    (rf"((?:set-)?cookie{_SETS})[^\r\n\"']+", r"\1***"),
    (rf"((?:x-[a-z-]*)?(?:api|access|security|account|auth)[-_]?(?:key|token){_SETS}){_VALUE}{{4,}}", r"\1***"),
    (rf"([?&;](?:X-Amz-[A-Za-z-]+|X-Goog-[A-Za-z-]+|AWSAccessKeyId|Signature|sig|token|policy|key|code|Key-Pair-Id)(?:=|%3D)){_VALUE}+", r"\1***"),
    (rf"((?:api[-_]?keys?){_QUOTE}\s*[=:]\s*)\[[^\]\n*]+\]", r"\1[***]"),
    (rf"((?:password|passwd|pwd|passphrase){_SETS}){_VALUE}{{4,}}", r"\1***"),
    (rf"((?:secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credentials?)(?:[-_]?(?:id|value|data|access[-_]?key))?{_SETS})(?=[^\s\"',]*[a-z/+])"
     rf"{_VALUE}{{6,}}", r"\1***"),
    (r"(--(?:[a-z]+-)*(?:api-key|token|password|secret)[ =])[^\s*]\S*", r"\1***"),
    (r"([a-z][a-z0-9+.-]{0,20}://)[^/\s:@]*:[^/\s@]+@", r"\1***@"),
    (r"([a-z][a-z0-9+.-]{0,20}://)[^/\s:@*]{16,}@", r"\1***@"),
)  # fmt: skip
_CONTROL = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]")


def redacted(text: str) -> str:
    """The text without tokens, keys, credentials, signed URLs and control characters."""
    text = _CONTROL.sub("", text)
    for pattern, replacement in (*_KNOWN, *_PLACES):
        text = pattern.sub(replacement, text)
    return text


def tail(text: str, limit_bytes: int) -> str:
    """The last whole lines that fit; of a single longer line, its end. (bytes of UTF-8)"""
    raw = text.strip().encode(errors="replace")
    if len(raw) <= limit_bytes:
        return raw.decode()
    cut = raw[-limit_bytes:]
    line_end = cut.find(b"\n")
    if 0 <= line_end < len(cut) - 1:
        cut = cut[line_end + 1 :]
    return cut.decode(errors="ignore")
