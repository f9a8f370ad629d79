#!/bin/sh
# Tries the server with the clients that it is made for: make test-clients. With arguments only these tests: run.sh sdk browser
# Needs node, npm, python3 with venv, go, chromium and PostgreSQL (softhsm-setup.sh --with-clients). What is installed stays in this folder's and the
# example's node_modules/ and in target/test-clients/, and is installed again when a lock file changes.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
built=${CARGO_TARGET_DIR:-$root/target}
case $built in /*) ;; *) built=$root/$built ;; esac
work=$built/test-clients
mkdir -p "$work"

# unless_done NAME FILES.. -- COMMAND..: runs the command unless it succeeded before with the same files.
unless_done() {
    name=$1 files=
    shift
    while [ "$1" != -- ]; do files="$files $1"; shift; done
    shift
    # shellcheck disable=SC2086 # our own names, without spaces
    now=$(cat $files | cksum)
    if [ "$(cat "$work/$name.done" 2>/dev/null)" != "$now" ]; then
        "$@"
        echo "$now" >"$work/$name.done"
    fi
}
npm_ci() { (cd "$1" && rm -rf node_modules && npm ci --no-audit --no-fund --loglevel=error --ignore-scripts); }
venv() { # name requirements
    rm -rf "${work:?}/$1"
    "${PYTHON3:-/usr/bin/python3}" -m venv "$work/$1"
    "$work/$1/bin/pip" install --quiet --disable-pip-version-check -r "$2"
}

if grep -l '"resolved"' tests/clients/package-lock.json examples/node/package-lock.json; then
    echo "run.sh: this lock file names a registry: make it again beside its .npmrc" >&2
    exit 1
fi
[ -d tests/clients/node_modules ] || rm -f "$work/clients.done"
[ -d examples/node/node_modules ] || rm -f "$work/example-node.done"
unless_done clients tests/clients/package.json tests/clients/package-lock.json -- npm_ci tests/clients
unless_done example-node examples/node/package.json examples/node/package-lock.json -- npm_ci examples/node
unless_done example-python examples/python/requirements.txt -- venv example-python examples/python/requirements.txt
unless_done schemathesis tests/clients/requirements.lock -- venv schemathesis tests/clients/requirements.lock
# The example takes Go as it is here, and nothing from anywhere.
(cd examples/go && GOCACHE="${GOCACHE:-$work/go-cache}" GOTOOLCHAIN=local GOPROXY=off GOFLAGS='' GO111MODULE=on go build -o "$work/example-go" .)
# The features of `make test`, so that nothing is built twice.
cargo build --locked --quiet --features failpoints

export CLIENTS_GO_EXAMPLE="$work/example-go" CLIENTS_PYTHON="$work/example-python/bin/python"
export CLIENTS_SCHEMATHESIS="$work/schemathesis/bin/schemathesis"
exec node tests/clients/run.mjs "$built/debug/passkey-hsm" "$@"
