#!/bin/sh
# Stop a config and wait until it has stopped: stop-service.sh CONFIG
exec "$(dirname "$(readlink -f "$0")")/berth" stop --wait "$@"
