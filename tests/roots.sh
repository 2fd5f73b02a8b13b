#!/bin/sh
# Makes roots with other releases of systemd, for `ZDT_E2E_ROOT=DIRECTORY/SUITE cargo test -p zdt-e2e`.
#
#     tests/roots.sh [DIRECTORY [SUITE...]]     target/roots, trixie (systemd 257) and sid (262) unless told
#
# Needs root and `debootstrap`. A root that is there is left alone; delete it to have it made anew. One appears under
# its name only when it is complete.
set -eu

here=$(dirname "$0")
roots=${1:-$here/../target/roots}
[ "$#" -eq 0 ] || shift
[ "$#" -gt 0 ] || set -- trixie sid

command -v debootstrap >/dev/null || {
    echo 'needs `debootstrap`, get it with `apt install debootstrap`' >&2
    exit 1
}
# The mirror that this machine takes its own packages from. Apt knows it only with its lists.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1
}
[ -n "$(mirror)" ] || apt-get update -q >/dev/null
mirror=$(mirror)

make() {
    part=$(mktemp -d "$roots/.$1.XXXXXX")
    # What it mounts goes with the namespace, so a half-made root can be deleted safely.
    if unshare --mount --propagation private -- debootstrap --variant=minbase \
        --include=systemd,systemd-sysv,dbus,iproute2 "$1" "$part" ${mirror:+"$mirror"} >"$part.log" 2>&1; then
        rm -rf "$part"/var/cache/apt/archives/*.deb "$part"/var/lib/apt/lists/*
        chmod 755 "$part"
        # Fails when another run was first, and then that one is as good.
        mv -T "$part" "$roots/$1" 2>/dev/null || [ -d "$roots/$1" ]
        rm -rf "$part" "$part.log"
    else
        echo "no root of $1:" >&2
        tail -n 20 "$part.log" >&2
        rm -rf "$part" "$part.log"
        return 1
    fi
}

mkdir -p "$roots"
roots=$(cd "$roots" && pwd)
makers=
for suite; do
    [ -d "$roots/$suite" ] || { make "$suite" & makers="$makers $!"; }
done
for maker in $makers; do
    wait "$maker" || true # told below, when all have ended
done
for suite; do
    [ -x "$roots/$suite/usr/lib/systemd/systemd" ] || exit 1
    echo "$roots/$suite: $(chroot "$roots/$suite" systemctl --version | head -n 1)"
done
