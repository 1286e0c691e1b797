"""`python -m sandbox.koha`: run the stand-in until SIGTERM or SIGINT. Its patrons live in memory."""

from __future__ import annotations

import argparse
import signal

from sandbox.koha.server import KohaServer


def main() -> None:
    """Serve until stopped. The caller is `sesame`, by `secret`."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.koha", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with KohaServer(port=parser.parse_args().port) as koha:
        print(f"http://{koha.address}/api/v1", flush=True)
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
