#!/bin/bash
# --bootstrap-server HOST:PORT: whether it is open. The official image's asks for more; it is the health check's.
set -euo pipefail
exec 3<>"/dev/tcp/${2%:*}/${2##*:}"
