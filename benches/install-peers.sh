#!/bin/sh
# Installs the programs that `compare` runs beside statline, and those that it makes file systems with. The Rust crates
# among the peers need nothing: they are built with it.
#
#     benches/install-peers.sh          from Debian's packages, as root, and from crates.io into target/peers
#     benches/install-peers.sh apt      the packages alone
#     benches/install-peers.sh cargo    the programs of crates.io alone
set -eu
cd "$(dirname "$0")/.."

peers='findutils bfs coreutils fd-find rsync'
makers='e2fsprogs xfsprogs btrfs-progs squashfs-tools util-linux'
crates='du-dust diskus parallel-disk-usage'

from_apt() {
    if [ "$(id -u)" -ne 0 ]; then
        echo "install-peers.sh: not root; run as root: apt-get install $peers $makers" >&2
        exit 1
    fi
    if ! command -v apt-get >/dev/null; then
        echo "install-peers.sh: no apt-get here; install these with your package manager: $peers $makers" >&2
        exit 1
    fi
    apt-get update
    # shellcheck disable=SC2086 # a list of names
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $peers $makers
}

from_crates() {
    # Each with the dependencies that its authors tested it with, and where `compare` looks for them.
    for crate in $crates; do
        cargo install --quiet --locked --root target/peers "$crate"
    done
}

case "${1:-all}" in
    all) from_apt; from_crates ;;
    apt) from_apt ;;
    cargo) from_crates ;;
    *) echo "install-peers.sh: apt, cargo, or nothing for both" >&2; exit 2 ;;
esac
