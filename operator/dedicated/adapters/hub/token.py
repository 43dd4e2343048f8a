"""A hub token: sent to the hub, and shown to nobody."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from dedicated.api.errors import TokenInvalid

_SENDABLE = re.compile(r"[\x21-\x7e]{1,512}")
"""What a header can carry: an HTTP library names the whole value in its error when it cannot."""


@dataclass(frozen=True)
class Token:
    """
    A token and where it is from, such as "Secret hub-token (key HF_TOKEN)". Its text is in no repr, message or key.

    Raises:
        TokenInvalid: It cannot be one.
    """

    text: str = field(repr=False)
    origin: str = ""

    def __post_init__(self) -> None:
        if not _SENDABLE.fullmatch(self.text):
            raise TokenInvalid(f"What is given as {self.name} is none: a hub token is one word of printable ASCII characters.")

    @property
    def name(self) -> str:
        """In words."""
        return f"the token in {self.origin}" if self.origin else "the token"

    @property
    def title(self) -> str:
        """The same at the beginning of a sentence."""
        return self.name[0].upper() + self.name[1:]

    @property
    def key(self) -> str:
        """Stands for it in caches: its sha256."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def without(self, words: str) -> str:
        """The words with the token taken out, should a hub repeat it."""
        return words.replace(self.text, "***")


def authorization(token: Token | None) -> dict[str, str]:
    """The header that carries the token, if there is one."""
    return {"Authorization": f"Bearer {token.text}"} if token else {}


def key_of(token: Token | None) -> str:
    """Who asks, for caches and quotas; the empty text is anonymous."""
    return token.key if token else ""
