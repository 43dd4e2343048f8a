"""Says what `handover` decides: before pods are removed, that nothing goes there any more, or that this gateway is busy with them."""

from __future__ import annotations

import asyncio
import time

from dedicated.gateway.activity import Reporter
from dedicated.gateway.handover import Seen, acknowledgement, to_write
from dedicated.gateway.ledger import PERIOD_S, Ledger
from dedicated.gateway.table import Endpoint
from dedicated.gateway.watching import Watched

EVERY_S = 0.5
KNOWS_AFTER_S = PERIOD_S + 1.5
"""After a start every request in flight has left a line in the access log, and the line was read: a period, and twice a quarter of a second."""


class Draining:
    """Looks at the endpoints of which pods are about to be removed."""

    def __init__(self, watched: Watched, ledger: Ledger, reporter: Reporter) -> None:
        self._watched, self._ledger, self._reporter = watched, ledger, reporter
        self._began = time.monotonic()
        self._saying: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            for endpoint in self._watched.table.draining():
                self.look(endpoint)

    def look(self, endpoint: Endpoint) -> None:
        """Say of one endpoint what there is to say, if that is not what was said last."""
        if endpoint.id in self._saying:
            return
        word = to_write(acknowledgement(endpoint.drain, self._seen(endpoint)), self._watched.said.get(endpoint.id))
        if word is not None:
            task = self._saying[endpoint.id] = asyncio.get_running_loop().create_task(self._reporter.acknowledge(endpoint.id, word))
            task.add_done_callback(lambda _task: self._saying.pop(endpoint.id, None))

    def _seen(self, endpoint: Endpoint) -> Seen:
        return Seen(
            knows=time.monotonic() - self._began >= KNOWS_AFTER_S,
            in_flight=self._ledger.in_flight_on(endpoint.id, endpoint.drain.pods, self._watched.table.usable(endpoint)),
            unwritten=self._reporter.unwritten(endpoint),
        )
