"""`python -m sandbox.nextcloud`: run the stand-in until SIGTERM or SIGINT. Its users live in memory."""

from __future__ import annotations

import argparse

from sandbox.http_server import HttpServer, add_arguments, context_of, serve_until_told
from sandbox.nextcloud.cloud import Cloud, User
from sandbox.nextcloud.server import ADMINISTRATOR, OcsRequests


def main() -> None:
    """Serve until stopped. The administrator is `sesame`, by `app-password`."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.nextcloud", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args()
    cloud = Cloud()
    cloud.groups.add("sesame")
    cloud.users["sesame"] = User("sesame", groups={"admin"})
    requests = OcsRequests.serving(cloud, *ADMINISTRATOR)
    serve_until_told(HttpServer(options.port, requests, context_of(options)))


if __name__ == "__main__":
    main()
