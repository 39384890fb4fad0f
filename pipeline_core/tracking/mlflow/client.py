"""Records runs in MLflow. Only this package imports mlflow.

Data that cannot be sent are kept and sent again, with a single warning; what is left at the end is kept on the disk for
the next process. All run ids are explicit: MLflow's active run belongs to a thread, and stages run in several threads.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_core.network.addresses import answering, shown_uri
from pipeline_core.network.proxies import through
from pipeline_core.tracking.mlflow.connection import Connection
from pipeline_core.tracking.mlflow.experiment import alone, experiment_id, is_embedded, quiet
from pipeline_core.tracking.mlflow.outbox import Outbox
from pipeline_core.tracking.mlflow.owners import delete_doubles, end_abandoned, owner_tags
from pipeline_core.tracking.mlflow.registered import MlflowModels
from pipeline_core.tracking.mlflow.removal import PARENT_TAG, delete_tree, held
from pipeline_core.tracking.mlflow.run import MlflowRun
from pipeline_core.tracking.mlflow.values import cut
from pipeline_core.tracking.protocol import TrackedRun, TrackingUnavailable
from pipeline_core.tracking.registry import Held

if TYPE_CHECKING:
    from pipeline_core.store.places import Places

SHOWN_TAGS = {
    "description": "mlflow.note.content",
    "commit": "mlflow.source.git.commit",
    "source": "mlflow.source.name",
}
"""Tags that MLflow's pages show in places of their own, under MLflow's names."""
REFUSED = "error code 401"
"""MLflow's words for a server that wants another login."""
FLUSH_SECONDS = 2.0
CLOSE_SECONDS = 20.0
"""Longest wait for the sender's thread at the end; it may be in a request."""
GATHER_SECONDS = 0.1
"""Pause in which data gather before they are sent together."""
WORTH = 20
"""Pause between two writes of a run's file in the outbox, in multiples of the time the last one took."""
log = logging.getLogger(__name__)


class MlflowTracking(Connection):
    """A connection to an MLflow server or the embedded database."""

    registers = True
    libraries = ("mlflow",)
    advice = "Set MLFLOW_TRACKING_URI to a running server, or unset it"

    def __init__(self, uri: str, artifact_root: str | None = None, outbox: Path | None = None) -> None:
        """Connect, and create the database and the experiment if they are missing.

        `outbox`: folder of what could not be sent; what earlier processes have left there is sent now. Without it that
        is lost when this process ends.

        Raises:
            TrackingUnavailable: naming the address and the reason.
        """
        super().__init__(shown_uri(uri))
        self.uri = uri
        self._outbox = Outbox(outbox, self.place) if outbox else None
        self._put: dict[str, float] = {}
        """For runs with a file in the outbox, by token: when the file may be written again."""
        self._complete: dict[str, str] = {}
        """Ids of complete runs by their tokens."""
        self._closing, self._awake = threading.Event(), threading.Event()
        self._keeping = threading.Lock()
        self._sender: threading.Thread | None = None
        quiet()
        from mlflow import MlflowClient

        try:
            with alone(uri):
                self.client = MlflowClient(tracking_uri=uri)
                self.experiment_id = experiment_id(self.client, artifact_root if is_embedded(uri) else None)
                self.pages = self.place.rstrip("/") if uri.startswith("http") else None
        except Exception as error:
            raise self.unavailable(error) from None  # the cause may hold the address with its secret
        self.left = self._send_left()  # first: a run that waits for its end alone has not been killed
        self._end_abandoned()

    @classmethod
    def at(cls, address: str, places: Places) -> MlflowTracking:
        """Open an address in the form of `MLFLOW_TRACKING_URI`, which is the default."""
        return cls(address or places.tracking_uri, places.artifact_root, places.home / "unsent")

    @classmethod
    def described(cls, address: str, places: Places) -> str:
        """The address in words, with the state of a server."""
        uri = address or places.tracking_uri
        return answering(uri) if uri.startswith("http") else f"{shown_uri(uri)} (no server)"

    def begin(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], parent: str) -> MlflowRun:
        """Create a run in the experiment; if the server is away a stage's run is created later."""
        named = {SHOWN_TAGS.get(tag, tag): value for tag, value in tags.items()}
        run = MlflowRun(self, name, {**({PARENT_TAG: parent} if parent else {}), **named, **owner_tags()})
        if not parent:
            run.create()  # whoever starts a pipeline is there to set its tracking right
        elif not self.in_trouble:
            self._try_create(run)  # at once, for the links to its page
        with self._guard:
            if self._sender is None:
                self._sender = threading.Thread(target=self._send_often, daemon=True, name="tracking")
                self._sender.start()
        run.log_params(params)
        return run

    def _try_create(self, run: MlflowRun) -> None:
        try:
            run.create()
        except Exception as error:
            self.in_trouble = True
            self.warn(error)

    def wake(self) -> None:
        """Let the sender's thread send soon what is buffered. Does not wait."""
        self._awake.set()

    def _send_often(self) -> None:
        """Send what is buffered until `close`. This thread alone waits for the server; stages do not."""
        while not self._closing.wait(FLUSH_SECONDS if self.in_trouble else GATHER_SECONDS):
            self._awake.wait(FLUSH_SECONDS)
            self._awake.clear()
            if not self._closing.is_set():
                self.flush()

    def flush(self) -> None:
        """Send buffered data. A server that does not answer is asked for two runs, not for all; all are kept."""
        failures = 0
        for run in self.open_runs():
            assert isinstance(run, MlflowRun)
            if failures < 2:  # the fault of one may be that run's alone, which must not hold back the others
                failures += not run.send()
            else:
                self.flushed(run)

    def flushed(self, run: TrackedRun) -> None:
        """Keep in the outbox what the server has not taken, now and then while it is away, and at the end."""
        if self._outbox is not None and isinstance(run, MlflowRun):
            with self._keeping:
                self._keep(run, self._outbox)

    def _keep(self, run: MlflowRun, outbox: Outbox) -> None:
        if not run.waiting:
            if self._put.pop(run.token, None) is not None:
                outbox.remove(run.token)
        elif run.status or (self.in_trouble and self._put_is_due(run)):
            began = time.monotonic()
            try:
                outbox.put(run.kept())
                self._put[run.token] = time.monotonic() + WORTH * (time.monotonic() - began)
            except OSError as error:
                self.warn(error)

    def _put_is_due(self, run: MlflowRun) -> bool:
        return time.monotonic() >= self._put.get(run.token, -math.inf)

    def _send_left(self) -> dict[str, list[str]]:
        """Send what earlier processes have left in the outbox; what still waits, by the run's name."""
        left = self._outbox.left() if self._outbox else []
        if not left or self._outbox is None:
            return {}
        with self._outbox.alone() as alone:
            if not alone:
                return {}
            waiting = {}
            for kept in left:
                run = MlflowRun.of(self, kept)
                run.finish("KILLED")  # of a process that is gone; a run with an end of its own keeps that
                run.send()
                if run.waiting:
                    waiting[run.name] = run.waiting
                else:
                    self._outbox.remove(run.token)
        return waiting

    def close(self) -> None:
        """Send buffered data, mark unfinished runs as KILLED, and stop. Safe to call twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        self.is_closing = True
        self.wake()
        if self._sender:
            self._sender.join(CLOSE_SECONDS)  # else what it sends just now would be told as missing
        for run in reversed(self.open_runs()):
            run.finish("KILLED")  # one with an end of its own keeps that
        if self.open_runs():
            self.flush()  # what the thread has not sent; one more try, before the rest is put into the outbox
        super().close()
        self._delete_doubles()
        self.unsent = {run.name: run.waiting for run in self.open_runs() if isinstance(run, MlflowRun)}
        if self.unsent and self._outbox is None:
            log.warning("tracking at %s lost part of: %s", self.place, ", ".join(self.unsent))

    def forget(self, run: TrackedRun) -> None:
        """Remove a run from the open runs."""
        if isinstance(run, MlflowRun):
            self._complete[run.token] = run.id
        super().forget(run)

    def _delete_doubles(self) -> None:
        if is_embedded(self.uri) or not self._complete:
            return
        try:
            delete_doubles(self.client, self.experiment_id, self._complete)
        except Exception as error:
            self.warn(error)

    @property
    def models(self) -> MlflowModels:
        """MLflow's own registry."""
        return MlflowModels(self.client, is_embedded(self.uri), lambda: alone(self.uri))

    def held(self) -> Held:
        """Runs and folders of versions with an alias, and versions without one."""
        return held(self.client)

    def delete_run(self, run_id: str) -> None:
        """Delete a run, its stages and their files. Rows of the database stay until `mlflow gc`, marked as deleted."""
        with alone(self.uri):
            delete_tree(self.client, self.uri, self.experiment_id, run_id)

    def unavailable(self, error: Exception) -> TrackingUnavailable:
        """Error to raise when tracking cannot start, with the proxy in use."""
        where = f"{self.place}{through(self.uri)}"
        if REFUSED in str(error):
            return TrackingUnavailable(f"tracking cannot start: {where} {self.reason(error)}")
        return TrackingUnavailable(f"tracking cannot start at {where}: {self.reason(error)}. {self.advice}")

    def reason(self, error: Exception) -> str:
        """The cause of an error, without credentials."""
        if REFUSED in str(error):
            return "refuses this login: set EVENHAND_AUTH to the user:secret that it was started with"
        text = str(error).strip().replace(self.uri, self.place) or type(error).__name__
        cause = text.rpartition("(Caused by ")[2] if "(Caused by " in text else text  # urllib3 wraps it in its retries
        return cut(shown_uri(cause.splitlines()[0]).rstrip("."), 300)

    def _end_abandoned(self) -> None:
        try:
            end_abandoned(self.client, self.experiment_id)
        except Exception as error:
            self.warn(error)
