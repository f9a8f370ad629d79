#!/bin/sh
# Installs what passkey-hsm needs to be built and tried, and makes a throw-away SoftHSM2 token in this project's own var/.
# Run it with --help. It never touches a system token, never writes a PIN to a command line, and asks for nothing.
set -eu
umask 077

LABEL=passkey-hsm
MARKER='# Made by softhsm-setup.sh: a throw-away token.'
HERE=$(cd "$(dirname "$0")" && pwd -P)

usage() {
    cat <<USAGE
Usage: softhsm-setup.sh [--token-dir DIR] [--reset] [--with-tests] [--with-clients] [--packages]

Installs what is missing (Debian and Ubuntu; elsewhere it says what to install), then makes a SoftHSM2 token named $LABEL with random
PINs, unless it is there already. In DIR:
  softhsm2.conf     for SOFTHSM2_CONF        tokens/           the token
  pin, so-pin       its PINs, mode 0600      passkey-hsm.toml  a configuration that uses it, if there was none

  --token-dir DIR   where; default: var/ beside this script
  --reset           remove the token, its PINs and the database beside them first: every key and every account in it is gone
  --with-tests      install what 'make test' and 'make fuzz' need as well: PostgreSQL's server programs, Chromium, python3-jwcrypto, a C++ compiler
  --with-clients    install what 'make test-clients' needs as well: Chromium, Node, npm, Python's venv, Go
  --packages        install only, make no token
  --help            this text
USAGE
}

say() { printf '%s\n' "$@"; }
die() { printf 'softhsm-setup.sh: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- What is missing -------------------------------------------------------------------------------------------------------------

find_module() {
    for file in ${SOFTHSM2_MODULE:+"$SOFTHSM2_MODULE"} /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so \
        /usr/lib64/pkcs11/libsofthsm2.so /usr/lib64/softhsm/libsofthsm2.so /usr/lib/pkcs11/libsofthsm2.so \
        /opt/homebrew/lib/softhsm/libsofthsm2.so /usr/local/lib/softhsm/libsofthsm2.so; do
        if [ -f "$file" ]; then printf '%s\n' "$file"; return; fi
    done
    return 1
}

have_openssl_headers() { have pkg-config && pkg-config --exists openssl; }
have_postgres() { [ -x "${POSTGRES_BIN:-}/initdb" ] || have initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }
have_jwcrypto() { "${PYTHON3:-/usr/bin/python3}" -c 'import jwcrypto' 2>/dev/null; }
# Ubuntu's chromium is a stub that runs a snap, whose sandbox sees neither our files nor our profile directory.
have_chromium() {
    [ -z "${CHROMIUM:-}" ] || return 0
    chromium=$(command -v chromium 2>/dev/null) || return 1
    case $(readlink -f "$chromium") in */snap*) return 1 ;; esac
}

have_node() { have node && node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)'; }
have_venv() { "${PYTHON3:-/usr/bin/python3}" -c 'import ensurepip, venv' 2>/dev/null; }
# From 1.18 on; what else says `go` is not asked.
have_go() { have go && go version >/dev/null 2>&1; }

is_ubuntu() { [ -r /etc/os-release ] && grep -q '^ID=ubuntu' /etc/os-release; }

# Prints the Debian names of the packages that are missing.
missing_packages() {
    have softhsm2-util && find_module >/dev/null || echo softhsm2
    have pkcs11-tool || echo opensc
    have cc || have gcc || have clang || echo gcc libc6-dev
    have pkg-config || echo pkg-config
    have_openssl_headers || echo libssl-dev
    if [ "$with_tests$with_clients" != nono ]; then have_postgres || echo postgresql; fi
    if [ "$with_tests" = yes ]; then
        have_jwcrypto || echo python3-jwcrypto
        have "${CXX:-c++}" || echo g++
    fi
    if [ "$with_clients" = yes ]; then
        have_node || echo nodejs
        have npm || echo npm
        have_venv || echo python3-venv
        have_go || echo golang-go
    fi
    if [ "$with_browser" = yes ]; then have_chromium || is_ubuntu || echo chromium; fi
}

# --- Installing it ---------------------------------------------------------------------------------------------------------------

# With the usual umask: ours would make what packages install unreadable for others.
as_root() (
    umask 022
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
)
apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends "$@"; }

advise() { # where command
    {
        say "$1 run this, then try again (elsewhere look for packages of like names):" "    $2"
        if [ "$with_browser" = yes ]; then say "Set CHROMIUM to the browser when its program is not called chromium."; fi
    } >&2
    exit 1
}

install_packages() { # packages...
    case $(uname -s) in
        Linux) ;;
        Darwin)
            more=
            if [ "$with_clients" = yes ]; then more=' node python go postgresql@17'; fi
            if [ "$with_tests" = yes ]; then more="$more postgresql@17 && pip3 install jwcrypto"; fi
            if [ "$with_browser" = yes ]; then more="$more && brew install --cask chromium"; fi
            advise "On macOS with Homebrew" "brew install softhsm opensc openssl@3 pkgconf$more"
            ;;
        *) die "$(uname -s) is not known here. Install SoftHSM2, OpenSC, OpenSSL's headers, pkg-config and a C compiler, then run this again" ;;
    esac
    if ! have apt-get; then
        more=
        if [ "$with_clients" = yes ]; then more=' nodejs npm python3 golang postgresql-server'; fi
        if [ "$with_tests" = yes ]; then more="$more postgresql-server python3-jwcrypto gcc-c++"; fi
        if [ "$with_browser" = yes ]; then more="$more chromium"; fi
        advise "No apt-get here. On Fedora" "sudo dnf install softhsm opensc openssl-devel pkgconf-pkg-config gcc$more"
    fi
    if [ "$(id -u)" != 0 ] && ! have sudo; then
        advise "Packages are missing, and this is neither root nor is there sudo. As root" "apt-get update && apt-get install $*"
    fi
    say "Installing: $*"
    # Lists that were never fetched, or are old, are the usual reason for a failure: fetched once, here.
    apt update || say "apt-get update failed; trying with the lists there are"
    case " $* " in *" postgresql "*) without_cluster install "$@" ;; *) apt install "$@" ;; esac
}

# Debian starts a database cluster when the server is first installed. The tests start their own as an ordinary process, so for this one
# installation the package's own switch is off; whoever installs another version later gets a cluster as usual.
without_cluster() {
    switch=/etc/postgresql-common/createcluster.d/passkey-hsm.conf
    trap 'as_root rm -f "$switch"' EXIT
    trap 'exit 1' HUP INT TERM
    as_root mkdir -p "${switch%/*}"
    echo 'create_main_cluster = false' | as_root tee "$switch" >/dev/null
    apt "$@"
    as_root rm -f "$switch"
    trap - EXIT
}

packages() {
    if [ "$with_browser" = yes ] && [ -n "${CHROMIUM:-}" ] && ! have "$CHROMIUM"; then die "CHROMIUM=$CHROMIUM is not a program"; fi
    missing=$(missing_packages | tr '\n' ' ')
    if [ -n "$missing" ]; then
        # shellcheck disable=SC2086 # one word a package
        install_packages $missing
        missing=$(missing_packages | tr '\n' ' ')
        [ -z "$missing" ] || die "still missing after the installation: $missing"
    fi
    if [ "$with_browser" = yes ] && ! have_chromium; then
        say "Ubuntu has Chromium only as a snap, whose sandbox the browser tests cannot drive. Install Google Chrome or Debian's Chromium," >&2
        die "then try again with CHROMIUM set to the program, for example CHROMIUM=/usr/bin/google-chrome make test"
    fi
}

# --- The token -------------------------------------------------------------------------------------------------------------------

random_pin() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# pkcs11-tool with the given configuration; PINs reach it through its environment.
tool() { # conf pin so-pin args...
    conf=$1 user=$2 officer=$3
    shift 3
    SOFTHSM2_CONF=$conf PASSKEY_SETUP_PIN=$user PASSKEY_SETUP_SO_PIN=$officer pkcs11-tool --module "$module" "$@"
}

write_conf() { # file tokens-directory
    printf '%s\ndirectories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n' "$MARKER" "$2" >"$1"
}

# Refuses every sign that this directory is not ours: another's token is never touched, not even by --reset.
check_ours() {
    for name in softhsm2.conf tokens pin so-pin; do
        [ ! -L "$dir/$name" ] || die "$dir/$name is a symbolic link: refusing to follow it to somebody else's token"
    done
    if [ -e "$dir/softhsm2.conf" ]; then
        grep -qxF "$MARKER" "$dir/softhsm2.conf" || die "$dir/softhsm2.conf was not made by this script: choose another --token-dir"
        grep -qxF "directories.tokendir = $dir/tokens" "$dir/softhsm2.conf" ||
            die "$dir/softhsm2.conf points to another directory than $dir/tokens: refusing to touch that token (was the directory moved? remove the file)"
    elif [ -n "$(ls -A "$dir/tokens" 2>/dev/null)" ]; then
        die "$dir/tokens holds a token that was not made by this script: choose another --token-dir"
    fi
}

reset() {
    rm -rf "$dir/tokens" "$dir/pin" "$dir/so-pin"
    # A database without the token's keys can sign nothing, nor has it the tenant that dev remembers: they go together.
    rm -f "$dir/passkey-hsm.db" "$dir/passkey-hsm.db-wal" "$dir/passkey-hsm.db-shm" "$dir/dev-tenant.json"
    if [ -f "$dir/passkey-hsm.toml" ] && grep -qxF "$MARKER" "$dir/passkey-hsm.toml"; then rm -f "$dir/passkey-hsm.toml"; fi
    rm -f "$dir/softhsm2.conf"
    say "Removed the token, its PINs and the database in $dir"
}

# Made aside and moved into place last: a token that is there is whole.
make_token() {
    # Left by a run that was killed; nobody else is here now.
    if have flock; then rm -rf "$dir"/.setup.*; fi
    stage=$(mktemp -d "$dir/.setup.XXXXXX")
    trap 'rm -rf "$stage"' EXIT
    trap 'exit 1' HUP INT TERM
    mkdir "$stage/tokens"
    write_conf "$stage/softhsm2.conf" "$stage/tokens"
    random_pin >"$stage/pin"
    random_pin >"$stage/so-pin"
    pin=$(cat "$stage/pin")
    so_pin=$(cat "$stage/so-pin")
    log=$stage/log
    {
        tool "$stage/softhsm2.conf" "$pin" "$so_pin" --slot-index 0 --init-token --label "$LABEL" --so-pin env:PASSKEY_SETUP_SO_PIN &&
            tool "$stage/softhsm2.conf" "$pin" "$so_pin" --token-label "$LABEL" --login --login-type so --so-pin env:PASSKEY_SETUP_SO_PIN \
                --init-pin --pin env:PASSKEY_SETUP_PIN
    } >"$log" 2>&1 || { cat "$log" >&2; die "the token could not be made"; }
    write_conf "$dir/softhsm2.conf" "$dir/tokens"
    mv "$stage/pin" "$stage/so-pin" "$dir/"
    # An empty directory may be left from before; anything else is kept from being moved into.
    if [ -d "$dir/tokens" ]; then rmdir "$dir/tokens"; fi
    mv "$stage/tokens" "$dir/tokens"
    rm -rf "$stage"
    trap - EXIT
}

check_token() {
    [ -s "$dir/pin" ] || die "$dir/pin is gone, and with it the way into the token: start anew with --reset"
    tool "$dir/softhsm2.conf" "$(cat "$dir/pin")" '' --token-label "$LABEL" --login --pin env:PASSKEY_SETUP_PIN --list-objects >/dev/null 2>&1 ||
        die "the token in $dir/tokens cannot be logged in to with $dir/pin: start anew with --reset"
}

# A TOML basic string.
quoted() { printf '"%s"' "$(printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g')"; }

hsm_section() {
    printf '[hsm]\nmodule = %s\ntoken = "pkcs11:token=%s"\npin_file = %s\nenv = { SOFTHSM2_CONF = %s }\n' \
        "$(quoted "$module")" "$LABEL" "$(quoted "$dir/pin")" "$(quoted "$dir/softhsm2.conf")"
}

write_config() {
    [ ! -e "$dir/passkey-hsm.toml" ] || return 0
    {
        printf '%s\n# Every key is described in docs/passkey-hsm.example.toml.\n\n' "$MARKER"
        printf '[database]\nurl = "sqlite:passkey-hsm.db"\n\n[http]\npublic_url = "http://localhost:8000"\n\n'
        hsm_section
    } >"$dir/passkey-hsm.toml.new"
    mv "$dir/passkey-hsm.toml.new" "$dir/passkey-hsm.toml"
    say "Wrote $dir/passkey-hsm.toml"
}

token() {
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd -P)
    case $dir/ in /etc/softhsm* | /var/lib/softhsm*) die "$dir belongs to the system's SoftHSM2: choose another --token-dir" ;; esac
    case $dir in *'
'* | *'#'*) die "SoftHSM2 cannot be told of a directory with a line break or a # in its name: $dir" ;; esac
    module=$(find_module) || die "libsofthsm2.so was not found; set SOFTHSM2_MODULE to it"
    # Two at once would make two tokens with one PIN file.
    if have flock; then
        exec 9>"$dir/.lock"
        flock 9
    fi
    check_ours
    [ "$reset" = no ] || reset
    if [ -n "$(ls -A "$dir/tokens" 2>/dev/null)" ]; then
        check_token
        say "The token $LABEL is there: $dir/tokens"
    else
        make_token
        check_token
        say "Made the token $LABEL: $dir/tokens (PINs: $dir/pin, $dir/so-pin)"
    fi
    write_config
    if ! grep -qxF "$MARKER" "$dir/passkey-hsm.toml"; then
        say "$dir/passkey-hsm.toml is not of this script and was left as it is. To use this token:" ""
        hsm_section
        say ""
    fi
    say "To see it: SOFTHSM2_CONF='$dir/softhsm2.conf' pkcs11-tool --module $module --list-token-slots"
}

# --- Main ------------------------------------------------------------------------------------------------------------------------

dir=$HERE/var reset=no with_tests=no with_clients=no with_browser=no packages_only=no
while [ $# -gt 0 ]; do
    case $1 in
        --token-dir)
            if [ -z "${2:-}" ]; then die "--token-dir needs a directory"; fi
            dir=$2
            shift
            ;;
        --token-dir=?*) dir=${1#*=} ;;
        --reset) reset=yes ;;
        --with-tests) with_tests=yes with_browser=yes ;;
        --with-clients) with_clients=yes with_browser=yes ;;
        --packages) packages_only=yes ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "$1 is not an option" ;;
    esac
    shift
done
case $dir in -*) dir=./$dir ;; esac

packages
if [ "$packages_only" = no ]; then token; fi
