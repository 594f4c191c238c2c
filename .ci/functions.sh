# shellcheck shell=bash
# Functions of the scripts of this folder. To be sourced from the top of the repository.

section() { printf '\n=== %s (at %d s)\n' "$*" "$SECONDS"; }
# left_out WHAT: WHY
left_out() { printf 'left out: %s\n' "$*"; }

# Names of the repository's files. It may be another user's, or be no clone at all.
files() {
    git -c safe.directory="$PWD" ls-files -z 2>/dev/null ||
        find . -path ./target -prune -o -path ./.git -prune -o -type f -print0
}

# as_root COMMAND...: fails where we may not
if [[ $(id -u) == 0 ]]; then
    as_root() { "$@"; }
elif sudo -n true 2>/dev/null; then
    as_root() { sudo -n "$@"; }
else
    as_root() { return 1; }
fi

# has PROGRAM: also where an ordinary user's PATH does not lead
has() {
    local folder
    command -v "$1" >/dev/null && return
    for folder in /usr/sbin /sbin /usr/lib/systemd /lib/systemd; do
        [[ ! -x $folder/$1 ]] || return 0
    done
    return 1
}

# tried COMMAND...: up to three times, for what the network may spoil
tried() {
    local pause
    for pause in 5 20; do
        if "$@"; then return 0; fi
        echo "failed, once more in $pause s: $*" >&2
        sleep "$pause"
    done
    "$@"
}

# apt WORD...: apt-get, which may have to wait for somebody else's
apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 "$@"; }

# packages NAME...: installs those of Debian's packages that are missing, in any version. Tells which it
# can't install; what needs those has to look for itself.
packages() {
    local name missing=()
    for name; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] ||
            missing+=("$name")
    done
    ((${#missing[@]})) || return 0
    if ! command -v apt-get >/dev/null; then
        left_out "installing ${missing[*]}: there is no apt-get"
        return 0
    fi
    if ! as_root true; then
        left_out "installing ${missing[*]}: neither root nor sudo"
        return 0
    fi
    echo "installing ${missing[*]}"
    # The lists of before may do
    tried apt update >/dev/null || true
    tried apt install -y --no-install-recommends "${missing[@]}" >/dev/null && return
    # One that is not to be had does not keep the others away
    for name in "${missing[@]}"; do
        apt install -y --no-install-recommends "$name" >/dev/null || left_out "installing $name"
    done
}

# quietly COMMAND...: what it installs starts no service
quietly() {
    local policy=/usr/sbin/policy-rc.d code=0
    if [[ -e $policy ]] || ! as_root true; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    "$@" || code=$?
    as_root rm -f "$policy"
    return "$code"
}

# debian FOLDER SUITE PACKAGE,...: a Debian with these packages, kept in FOLDER for the next time. Needs
# debootstrap and root.
debian() {
    [[ ! -e $1/.done ]] || return 0
    tried bootstrap "$@"
    rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
    touch "$1/.done"
}
bootstrap() {
    local mirror log=$1.log
    rm -rf "$1"
    # From where this machine has its packages, and by the same way
    # shellcheck disable=SC2016 # apt's own variable
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
        sed -n '/security/d; /^https\{0,1\}:/{p;q}')
    (
        eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
        export http_proxy https_proxy
        debootstrap --variant=minbase "--include=$3" "$2" "$1" ${mirror:+"$mirror"}
    ) >"$log" 2>&1 || { tail "$log"; return 1; }
}

# find_musl: MUSL_TOOLCHAIN becomes the toolchain for static programs, for packaging/build too: as it
# is set, next to this checkout, or next to the one that this is a clone of. Empty if there is none.
find_musl() {
    local place origin
    origin=$(git config --get remote.origin.url 2>/dev/null) || origin=''
    for place in "${MUSL_TOOLCHAIN-}" ../shared/tools/musl-toolchain \
        "${origin#file://}/../shared/tools/musl-toolchain"; do
        if [[ -f $place && -x $place ]]; then
            MUSL_TOOLCHAIN=$(realpath "$place")
            export MUSL_TOOLCHAIN
            return
        fi
    done
    unset MUSL_TOOLCHAIN
}

triple() {
    case $1 in
    armv7) echo armv7-unknown-linux-musleabihf ;;
    *) echo "$1-unknown-linux-musl" ;;
    esac
}

# can_build TARGET: whether packaging/build has something to compile with, after installing it
can_build() {
    local time=()
    if [[ ${MUSL_TOOLCHAIN-} ]]; then
        # It installs for itself, but only as root
        rustup target list --installed 2>/dev/null | grep -x -- "$(triple "$1")" >/dev/null ||
            packages rustc-web cargo-web rust-web-src
        packages python3-venv
        # As packaging/build, whose std this is: 64-bit time also in 32-bit programs
        [[ $1 != armv7 ]] || time=(RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1)
        tried env "${time[@]}" "$MUSL_TOOLCHAIN" setup "$(triple "$1")"
        return
    fi
    command -v rustup >/dev/null || return 1
    case $1 in
    "$(uname -m)") packages musl-tools ;;
    aarch64) packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
    armv7) packages gcc-arm-linux-gnueabihf libc6-dev-armhf-cross ;;
    *) return 1 ;;
    esac
    rustup target list --installed | grep -x -- "$(triple "$1")" >/dev/null ||
        rustup target add "$(triple "$1")" >/dev/null
}
