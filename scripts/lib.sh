# shellcheck shell=bash
# What the scripts share: messages, packages, cargo. Sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ROOT

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "$1 needs root (it makes network namespaces and opens raw ports). Try: sudo $0"
}

# Puts cargo on PATH: rustup installs it where a plain root shell does not look.
find_cargo() {
    command -v cargo >/dev/null && return
    local home
    for home in "${CARGO_HOME:-}" "$HOME/.cargo" /root/.cargo "${SUDO_USER:+$(getent passwd "$SUDO_USER" | cut -d: -f6)/.cargo}" /usr/local/cargo; do
        if [ -n "$home" ] && [ -x "$home/bin/cargo" ]; then
            export PATH="$home/bin:$PATH"
            return
        fi
    done
    die "cargo was not found on PATH nor in ~/.cargo/bin. Install Rust 1.90 or later: https://rustup.rs"
}

# The names in scripts/packages/LIST.txt for each LIST given.
packages_of() {
    local list
    for list in "$@"; do
        sed 's/#.*//' "$ROOT/scripts/packages/$list.txt"
    done | tr -s ' \t\n' '\n' | sed '/^$/d' | sort -u
}

# install_packages LIST...: installs what is missing of the lists with apt-get, its output shown. Services of the
# packages (nginx among them) are never started on the host.
install_packages() {
    local missing=() name
    command -v apt-get >/dev/null || die "this needs apt-get (Debian 12 or a relative). Install by hand: $(packages_of "$@" | tr '\n' ' ')"
    for name in $(packages_of "$@"); do
        dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
    done
    if [ ${#missing[@]} = 0 ]; then
        return
    fi
    need_root "installing packages"
    say "Installing packages: ${missing[*]}"
    # One at a time on this machine: two runs would trip over each other's guard. The subshell holds lock and guard.
    (
        exec 9>/run/lock/tarpon-setup.lock
        flock 9
        guard_services
        trap unguard_services EXIT
        export DEBIAN_FRONTEND=noninteractive
        # A third-party source may be down without mattering: only the installation decides.
        apt-get -o DPkg::Lock::Timeout=300 update || warn "apt-get update had errors; trying to install all the same"
        # tshark asks whether every user may capture; this is its default answer.
        apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold install -y --no-install-recommends "${missing[@]}"
    ) || die "installing packages failed (see above). Is this machine online, and is its apt in order? Wanted: ${missing[*]}"
}

# Debian starts a package's services when it is installed, unless policy-rc.d forbids it.
guard_services() {
    local policy=/usr/sbin/policy-rc.d
    [ ! -e "$policy.before-tarpon" ] && [ -e "$policy" ] && mv "$policy" "$policy.before-tarpon"
    printf '#!/bin/sh\n# Put here by tarpon/scripts/lib.sh while it installs packages.\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

unguard_services() {
    local policy=/usr/sbin/policy-rc.d
    rm -f "$policy"
    [ ! -e "$policy.before-tarpon" ] || mv "$policy.before-tarpon" "$policy"
}

# Builds the daemon and the CLI as they are shipped; cargo shows its progress.
build_release() {
    find_cargo
    say "Building tarpond, tarpon and pktgen (release)"
    (cd "$ROOT" && cargo build --release -p tarpond -p tarpon -p pktgen) || die "the build failed (see above)"
}

# test_program SOURCE COMMAND...: has `cargo COMMAND... --workspace --no-run` build a test or bench, SOURCE being its file in its
# package, and prints where the program is. The whole workspace is selected wherever something is built: cargo then gives each
# crate the same features every time, and what one script has built the others find.
test_program() {
    local source=$1 program
    shift
    find_cargo
    (cd "$ROOT" && cargo "$@" --workspace --locked --no-run) >&2 || die "$source could not be built (see above)"
    program=$(cd "$ROOT" && cargo "$@" --workspace --locked --no-run 2>&1 | sed -nE "s|.*Executable $source \\((.*)\\)\$|\\1|p")
    case $program in
    '') die "cargo $* --no-run has named no program of $source" ;;
    /*) ;;
    *) program=$ROOT/$program ;;
    esac
    printf '%s\n' "$program"
}

# Where cargo puts what build_release makes.
release_dir() {
    printf '%s/release\n' "${CARGO_TARGET_DIR:-$ROOT/target}"
}

# Builds a program of crates/sim as it is tested, quickly, and prints where it is.
sim_program() {
    find_cargo
    (cd "$ROOT" && cargo build --quiet --locked --workspace --bin "$1") >&2 || die "$1 could not be built (see above)"
    printf '%s/debug/%s\n' "${CARGO_TARGET_DIR:-$ROOT/target}" "$1"
}
