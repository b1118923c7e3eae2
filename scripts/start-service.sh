#!/bin/sh
# Start a config and wait until it is ready: start-service.sh CONFIG
exec "$(dirname "$(readlink -f "$0")")/berth" start --wait "$@"
