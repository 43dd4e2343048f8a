"""
Who fills the cache with a model: one writer at a time, so that the hub is asked once.

Theory of operation: the lease only saves work. Blobs are named by content and the ref is written last, so two writers do no harm; that is why a lease
on a server that races conditional writes is good enough. Its time runs on the server's clock: it is over when its object was not written again for
TTL_S, and is taken over by a write that matches the ETag that was read. After an answer that was lost it is read again: the write may have counted.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass

from dedicated.adapters.object_store.client import ObjectStore
from dedicated.adapters.object_store.errors import Absent, NotWon
from dedicated.api.errors import DedicatedError, ObjectStoreUnavailable

RENEW_S, TTL_S = 30.0, 120.0


@dataclass(frozen=True)
class Held:
    """A lease that somebody holds. (done: bytes, as its holder last said)"""

    holder: str
    epoch: int
    done: int
    age_s: float
    etag: str


class Lease:
    """One lease, as one process sees it."""

    def __init__(self, store: ObjectStore, key: str, holder: str, *, renew_s: float = RENEW_S, ttl_s: float = TTL_S) -> None:
        self._store, self._key, self._holder, self._renew_s, self._ttl_s = store, key, holder, renew_s, ttl_s
        self._etag, self._epoch = "", 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.done = 0
        """Bytes so far, for those who wait."""
        self.lost = False

    def held(self) -> Held | None:
        """Who holds it now; None where nobody does."""
        try:
            found = self._store.get(self._key)
        except Absent:
            return None
        try:
            said = json.loads(found.body)
            return Held(str(said["holder"]), int(said["epoch"]), int(said.get("done", 0)), found.age_s, found.etag)
        except (ValueError, KeyError, TypeError):
            return Held("", 0, 0, self._ttl_s, found.etag)

    def acquire(self) -> bool:
        """Whether it is ours now. Keeps it from then on."""
        try:
            won = self._try()
        except ObjectStoreUnavailable:
            now = self.held()
            won = now is not None and now.holder == self._holder
            self._etag, self._epoch = (now.etag, now.epoch) if won and now else ("", 0)
        if won:
            self._thread = threading.Thread(target=self._keep, daemon=True)
            self._thread.start()
        return won

    def _try(self) -> bool:
        try:
            self._epoch = 1
            self._etag = self._store.put(self._key, self._body(), if_absent=True)
            return True
        except NotWon:
            now = self.held()
        if now is None or (now.age_s < self._ttl_s and now.holder != self._holder):  # ours: from before this container was restarted
            return False
        try:
            self._epoch = now.epoch + 1
            self._etag = self._store.put(self._key, self._body(), if_match=now.etag)
            return True
        except (NotWon, Absent):
            return False

    def _body(self) -> bytes:
        return json.dumps({"holder": self._holder, "epoch": self._epoch, "done": self.done}).encode()

    def _keep(self) -> None:
        while not self._over.wait(self._renew_s):
            try:
                if not self._renewed():
                    self.lost = True
                    return
            except DedicatedError:
                continue  # it may have counted, or not: the next renewal tells

    def _renewed(self) -> bool:
        try:
            self._etag = self._store.put(self._key, self._body(), if_match=self._etag)
            return True
        except (NotWon, Absent):
            now = self.held()
        ours = now is not None and now.holder == self._holder
        self._etag = now.etag if now and ours else ""
        return ours

    def release(self) -> None:
        """Give it back, if it is still ours."""
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        now = self.held()
        if now is not None and now.holder == self._holder:
            self._store.delete(self._key)
