"""Apache Kafka on loopback, as separate processes.

    with Kafka() as kafka:                          # one node, in clear
        kafka.servers                               # ["127.0.0.1:…"]
    with Kafka(users={"sesame": "…"}, acls=True):   # TLS, SCRAM-SHA-512, nothing is allowed but to `admin`
        kafka.ca_file, kafka.admin_password

It is durable: everything, ports included, is in one folder, and a new `Kafka` on the same folder is the same
cluster. `stop`, `kill` (as a crash) and `start` keep the data; only `close` removes it, when the folder was a
temporary one.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.kafka.jars import fetch_jars
from sandbox.kafka.properties import ADMIN, LOG4J, STARTED, Ports, server_properties
from sandbox.ports import free_ports
from sandbox.process import ManagedProcess, SandboxError, find_program, run_command
from sandbox.tls import ThrowawayCA

_JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-Xshare:auto")
_QUICK = "-XX:TieredStopAtLevel=1"  # starts sooner, runs slower


class Kafka:
    """One cluster. Nothing runs before `start` (or `with`).

    Args:
        folder: where everything lives (default: a new temporary folder, removed by `close`).
        nodes: one or three; each is broker and controller.
        users: password by name, on TLS with SCRAM-SHA-512; `admin` is added. None: in clear, for any client.
        acls: whether nothing is allowed but what an ACL allows; `admin` may everything.
        faults: whether the first node has two more listeners with bad certificates: EXPIRED, and ELSEWHERE,
            for another host.
        quick: start sooner, run slower, and idle for less; not for benchmarks.
        keep_running: leave the nodes up when the interpreter exits.

    Raises:
        MissingServer: Java is not installed or the jars are not to be had.
        StartFailed: a node does not come up.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        nodes: int = 1,
        users: Mapping[str, str] | None = None,
        acls: bool = False,
        faults: bool = False,
        quick: bool = True,
        keep_running: bool = False,
    ) -> None:
        self._jars = fetch_jars()
        self._java = find_program("java", "default-jre-headless")
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="kafka-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._users = None if users is None else dict(users)
        self._acls = acls
        self._faults = ("EXPIRED", "ELSEWHERE") if faults else ()
        self._quick = quick
        self._keep_running = keep_running
        self._ports, self._cluster_id, self.admin_password = self._identity(nodes)
        self.ca_file = self.folder / "ca.pem"
        self._started_at = [0] * nodes  # how long each node's log was at the node's last start
        self._nodes = [self._node(number) for number in range(1, nodes + 1)]

    # --- what a client needs ---------------------------------------------------------------------------

    @property
    def servers(self) -> list[str]:
        """Addresses for clients: `host:port`, one for each node."""
        return [f"127.0.0.1:{ports.client}" for ports in self._ports]

    def listener(self, name: str) -> str:
        """`host:port` of the first node's listener EXPIRED or ELSEWHERE."""
        return f"127.0.0.1:{self._ports[0].others[name]}"

    # --- its life --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the nodes that do not run, all at once; return when each serves."""
        if not (self.folder / "formatted").exists():
            self._prepare()
        with ThreadPoolExecutor(len(self._nodes)) as pool:
            list(pool.map(self.start_node, range(1, len(self._nodes) + 1)))

    def start_node(self, number: int) -> None:
        """Start one node (numbers begin with 1), unless it runs."""
        node = self._nodes[number - 1]
        if not node.running:
            self._started_at[number - 1] = node.log_file.stat().st_size if node.log_file.exists() else 0
            node.start()

    def stop(self) -> None:
        """End all nodes politely; the data stays."""
        with ThreadPoolExecutor(len(self._nodes)) as pool:
            list(pool.map(ManagedProcess.stop, self._nodes))

    def kill(self, number: int = 1) -> None:
        """End one node at once (SIGKILL), as a crash would."""
        self._nodes[number - 1].kill()

    def pause(self, number: int = 1) -> None:
        """Freeze one node: it keeps its connections and answers nothing."""
        self._nodes[number - 1].pause()

    def resume(self, number: int = 1) -> None:
        """Resume a frozen node."""
        self._nodes[number - 1].resume()

    def node_runs(self, number: int) -> bool:
        """Whether one node runs (it may still be paused)."""
        return self._nodes[number - 1].running

    @property
    def pids(self) -> list[int]:
        """The process ids of the nodes that run."""
        return [node.pid for node in self._nodes if node.pid is not None]

    def close(self) -> None:
        """End all nodes; remove the folder if it was a temporary one."""
        if self._temporary:
            for node in self._nodes:
                node.kill()  # nothing of it is needed any more
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- preparing -------------------------------------------------------------------------------------

    def _identity(self, nodes: int) -> tuple[list[Ports], str, str]:
        """Ports, cluster id and the administrator's password, kept in the folder."""
        file = self.folder / "cluster.json"
        if file.exists():
            kept = json.loads(file.read_text(encoding="utf-8"))
        else:
            wanted = list(free_ports(3 * nodes + len(self._faults)))
            others = dict(zip(self._faults, wanted[3 * nodes :], strict=True))
            kept = {
                "cluster_id": _random_id(),
                "admin_password": secrets.token_urlsafe(18),
                "ports": [
                    [*wanted[3 * number : 3 * number + 3], others if number == 0 else {}]
                    for number in range(nodes)
                ],
            }
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                json.dump(kept, out)
        ports = [Ports(*each) for each in kept["ports"]]
        if len(ports) != nodes:
            raise SandboxError(f"{self.folder} holds a cluster of {len(ports)} nodes, not {nodes}")
        return ports, str(kept["cluster_id"]), str(kept["admin_password"])

    def _prepare(self) -> None:
        """Write the configurations, and format the nodes' folders as first voters."""
        (self.folder / "log4j2.properties").write_text(LOG4J, encoding="utf-8")
        keystores = self._keystores()
        for number in range(1, len(self._ports) + 1):
            text = server_properties(
                number,
                self._ports,
                data=self.folder / f"data-{number}",
                keystores=keystores if number == 1 else {k: v for k, v in keystores.items() if k == "CLIENT"},
                acls=self._acls,
                quick=self._quick,
            )
            self._configuration(number).write_text(text, encoding="utf-8")
        voters = ",".join(
            f"{number}@127.0.0.1:{ports.controller}:{_random_id()}"
            for number, ports in enumerate(self._ports, start=1)
        )
        with ThreadPoolExecutor(len(self._ports)) as pool:
            list(pool.map(lambda number: self._format(number, voters), range(1, len(self._ports) + 1)))
        (self.folder / "formatted").touch()

    def _keystores(self) -> dict[str, Path]:
        if self._users is None:
            return {}
        authority = ThrowawayCA(self.folder, name="Sandbox Kafka CA")
        certificates = {"CLIENT": authority.issue("kafka")}
        if self._faults:
            long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
            certificates["EXPIRED"] = authority.issue("expired", now=long_ago)
            certificates["ELSEWHERE"] = authority.issue("elsewhere", hosts=["kafka.univ-ailleurs.fr"])
        keystores = {}
        for name, certificate in certificates.items():
            keystores[name] = self.folder / f"{name.lower()}-keystore.pem"
            content = certificate.key_file.read_bytes() + certificate.cert_file.read_bytes()
            with os.fdopen(os.open(keystores[name], os.O_WRONLY | os.O_CREAT, 0o600), "wb") as out:
                out.write(content)
        return keystores

    def _format(self, number: int, voters: str) -> None:
        scram = []
        if self._users is not None:
            for name, password in {**self._users, ADMIN: self.admin_password}.items():
                scram += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
        run_command(
            "Kafka's storage tool",
            [
                *self._command("kafka.tools.StorageTool", "-Xmx256m"),
                *("format", "--cluster-id", self._cluster_id, "--config", self._configuration(number)),
                *("--initial-controllers", voters),
                *scram,
            ],
        )

    def _configuration(self, number: int) -> Path:
        return self.folder / f"server-{number}.properties"

    def _command(self, main: str, *options: str) -> list[str | Path]:
        return [
            self._java,
            *options,
            *((_QUICK,) if self._quick else ()),
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
            *("-cp", f"{self._jars}/*"),  # the JVM expands it
            main,
        ]

    def _node(self, number: int) -> ManagedProcess:
        log_file = self.folder / f"kafka-{number}.log"

        def ready() -> bool:
            with log_file.open("rb") as log:
                log.seek(self._started_at[number - 1])
                return STARTED.encode() in log.read()

        return ManagedProcess(
            f"Kafka node {number}",
            [*self._command("kafka.Kafka", *_JVM), self._configuration(number)],
            log_file=log_file,
            ready=ready,
            stop_timeout_s=15.0,
            outlives_parent=self._keep_running,
        )


def _random_id() -> str:
    """An id for Kafka: 16 random bytes, in base64 for URLs, no leading hyphen."""
    while (text := base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")).startswith("-"):
        pass
    return text
