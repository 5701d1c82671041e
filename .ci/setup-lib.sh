# Functions for docs/tour.sh and tests/run.sh, which source this from the top of the checkout.
# shellcheck shell=sh

# The servers live in /usr/sbin, which is not on every user's PATH.
PATH=$PATH:/usr/sbin:/sbin
PACKAGES=

say() { echo "==> $*"; }

die() {
    echo "error: $*" >&2
    exit 1
}

# need_package COMMAND PACKAGE: note the Debian package down when the command is missing.
need_package() {
    command -v "$1" >/dev/null || PACKAGES="$PACKAGES $2"
}

need_python() {
    python3 -c 'import ensurepip, venv' 2>/dev/null || PACKAGES="$PACKAGES python3-venv"
}

install_packages() {
    [ -n "$PACKAGES" ] || return 0
    command -v apt-get >/dev/null ||
        die "missing:$PACKAGES (Debian's names), and there is no apt-get; install them by hand"
    if [ "$(id -u)" -eq 0 ]; then
        sudo=
    else
        command -v sudo >/dev/null || die "installing$PACKAGES needs root or sudo"
        sudo=sudo
    fi
    say "installing Debian packages:$PACKAGES"
    quietly $sudo apt-get update
    # shellcheck disable=SC2086  # a list of words
    quietly $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends $PACKAGES
    for package in $PACKAGES; do
        stop_service "$package"
    done
}

# Debian starts a server when it installs it. Only one installed a moment ago is stopped; one that
# was there before is the user's.
stop_service() {
    case $1 in
        nginx | h2o | apache2 | caddy) service=$1 ;;
        nghttp2-proxy) service=nghttpx ;;
        dante-server) service=danted ;;
        *) return 0 ;;
    esac
    if [ -d /run/systemd/system ]; then
        $sudo systemctl disable --now "$service" >/dev/null 2>&1 || true
    elif [ -x "/etc/init.d/$service" ]; then
        $sudo "/etc/init.d/$service" stop >/dev/null 2>&1 || true
    fi
}

# make_venv FOLDER REQUIREMENT [REQUIREMENT...]: the first is of the checkout. Installs again only
# when setup.cfg has changed since.
make_venv() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "Python 3.10 or newer is needed; python3 is $(python3 --version 2>&1)"
    if [ -n "$(find "$1/installed" -newer setup.cfg 2>/dev/null)" ] && "$1/bin/python" -c ''; then
        return 0
    fi
    say "installing requests_h2 into $1"
    folder=$1
    shift
    quietly python3 -m venv "$folder"
    quietly "$folder/bin/python" -m pip install --disable-pip-version-check -e "$@"
    touch "$folder/installed"
}

# Run a command in silence; when it fails, show what it said.
quietly() {
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        rm -f "$log"
        return 0
    else
        status=$?
    fi
    cat "$log" >&2
    rm -f "$log"
    die "failed with status $status: $*"
}
