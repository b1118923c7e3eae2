#!/bin/sh
# Ask a running model: request-service-openai-text.sh MODEL [PROMPT] [options of 'berth request']
exec "$(dirname "$(readlink -f "$0")")/berth" request --protocol openai-text "$@"
