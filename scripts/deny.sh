#!/bin/sh
# Runs cargo-deny over deny.toml: bans, licences and sources decide; advisories decide where their database can be fetched.
# Installs cargo-deny once, into a cache outside the work tree. What cannot be run is skipped, loudly.
set -eu
cd "$(dirname "$0")/.."

version=0.20.2
root=${XDG_CACHE_HOME:-$HOME/.cache}/passkey-hsm/cargo-deny-$version

skipped() {
    printf '\n*** SKIPPED: %s ***\n\n' "$1" >&2
    if [ -n "${GITHUB_ACTIONS-}" ]; then echo "::warning::skipped: $1"; fi
}

if command -v cargo-deny >/dev/null 2>&1; then
    deny=cargo-deny
elif [ -x "$root/bin/cargo-deny" ]; then
    deny=$root/bin/cargo-deny
else
    echo "Installing cargo-deny $version into $root (once)"
    # Its build is the one thing that CARGO_TARGET_DIR and this project's settings must not touch.
    if ! (cd / && env -u CARGO_TARGET_DIR cargo install cargo-deny --version "$version" --locked --quiet --root "$root"); then
        skipped "cargo-deny could not be installed: bans, licences, sources and advisories were not checked"
        exit 0
    fi
    deny=$root/bin/cargo-deny
fi

"$deny" --log-level warn --locked check bans licenses sources

# Fetching fails without a way out; an advisory is a failure. The two are told apart by fetching first.
if log=$(GIT_TERMINAL_PROMPT=0 "$deny" --locked fetch db 2>&1); then
    "$deny" --log-level warn --locked check --disable-fetch advisories
else
    printf '%s\n' "$log" | tail -n 3 >&2
    skipped "the advisory database could not be fetched: advisories were not checked"
fi
