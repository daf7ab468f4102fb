#!/bin/sh
# Installs the programs that `compare` runs beside statline. The Rust peers need nothing: they are built with it.
set -eu

packages='findutils bfs coreutils'

if [ "$(id -u)" -ne 0 ]; then
    echo "install-peers.sh: not root; run as root: apt-get install $packages" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "install-peers.sh: no apt-get here; install these with your package manager: $packages" >&2
    exit 1
fi

apt-get update
# shellcheck disable=SC2086 # a list of names
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
