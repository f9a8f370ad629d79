#!/bin/sh
# Fails, and says what to do, unless the Rust that Cargo.toml asks for (or a newer one) is here.
set -eu
cd "$(dirname "$0")/.."

need=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
if ! command -v cargo >/dev/null 2>&1 || ! found=$(rustc --version 2>/dev/null); then
    echo "Rust $need or newer is needed and none was found. Install it with rustup (https://rustup.rs), then try again." >&2
    exit 1
fi
# "rustc 1.95.0-nightly (..)" -> 1.95.0
found=${found#rustc }
found=${found%% *}
found=${found%%-*}
if [ "$(printf '%s\n%s\n' "$need" "$found" | sort -V | head -n 1)" != "$need" ]; then
    echo "Rust $need or newer is needed; this is $found. With rustup: rustup update stable && rustup default stable" >&2
    exit 1
fi
