"""
Kopf, as the controller uses it.

Kopf imports the models of the official client, where that is installed, to know its classes when it is handed one as an owner. We hand it
none, and they take 58 MiB of memory and a third of a second of each start: so here they look as if they were not installed, which Kopf is made for.
"""

from __future__ import annotations

import sys

_MODELS = "kubernetes.client"
_hidden = _MODELS not in sys.modules
if _hidden:
    sys.modules[_MODELS] = None  # type: ignore[assignment]  # the import system's own way to say that there is none
import kopf  # noqa: E402

if _hidden:
    del sys.modules[_MODELS]

__all__ = ["kopf"]
