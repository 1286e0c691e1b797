"""`python -m sandbox.cas CONFIG`: serve in the foreground until SIGTERM or SIGINT."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from sandbox.cas.config import Config
from sandbox.cas.site import application, configure, enrol


def main(arguments: list[str]) -> int:
    """Prepare the database and serve."""
    config = Config.read(Path(arguments[0]))
    configure(config)
    enrol(config.services)
    tls = Path(config.folder) / "tls"
    uvicorn.run(
        application(),
        host="127.0.0.1",
        port=config.port,
        ssl_certfile=str(tls / "server.pem"),
        ssl_keyfile=str(tls / "server.key"),
        log_level="warning",
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=2,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
