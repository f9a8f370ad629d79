#!/bin/sh
# Tries softhsm-setup.sh for real, in directories of its own. Part of `make test`.
set -u
setup=$(cd "$(dirname "$0")/.." && pwd -P)/softhsm-setup.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# expect STATUS TEXT NAME ARGS..: the script ends with STATUS and its output contains TEXT.
expect() {
    status=$1 text=$2 name=$3
    shift 3
    "$setup" "$@" >"$work/out" 2>&1 </dev/null
    found=$?
    if [ "$found" = "$status" ] && grep -qF -e "$text" "$work/out"; then pass "$name"; else fail "$name" "exit status $found: $(cat "$work/out")"; fi
}
pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); printf 'FAILED softhsm-setup.sh: %s\n%s\n' "$1" "${2-}" >&2; }
holds() { name=$1; shift; if "$@"; then pass "$name"; else fail "$name"; fi; }

dir="$work/a b \"c'"
expect 0 'Made the token' 'makes a token, in a path with spaces and quotes' --token-dir "$dir"
holds 'nothing is left of the making' [ -z "$(find "$dir" -name '.setup*')" ]
holds 'every file is for its owner alone' [ -z "$(find "$dir" -type f ! -perm 0600)" ]
cp "$dir/pin" "$work/pin.before"
expect 0 'is there' 'a second run changes nothing' --token-dir "$dir"
holds 'the PIN stays' cmp -s "$dir/pin" "$work/pin.before"
expect 0 'Made the token' 'makes it anew on --reset' --token-dir "$dir" --reset
holds 'the PIN is another one' [ "$(cat "$dir/pin")" != "$(cat "$work/pin.before")" ]

mkdir -p "$work/system/tokens"
printf 'directories.tokendir = %s\n' "$work/system/tokens" >"$work/system.conf"
SOFTHSM2_CONF=$work/system.conf
export SOFTHSM2_CONF
expect 0 'Made the token' 'ignores a SOFTHSM2_CONF in the environment' --token-dir "$work/own"
unset SOFTHSM2_CONF
holds 'and leaves that token alone' [ -z "$(ls -A "$work/system/tokens")" ]

cp -R "$work/own" "$work/moved"
expect 1 'points to another directory' 'refuses a configuration that points elsewhere' --token-dir "$work/moved" --reset
holds 'and leaves the token that it points to' [ -s "$work/own/pin" ]
mkdir -p "$work/foreign/tokens/somebody" "$work/link"
expect 1 'not made by this script' 'refuses a token of somebody else' --token-dir "$work/foreign" --reset
ln -s "$work/foreign/tokens" "$work/link/tokens"
expect 1 'symbolic link' 'refuses to follow a link' --token-dir "$work/link" --reset
holds 'and leaves that token there' [ -d "$work/foreign/tokens/somebody" ]
mkdir "$work/conf"
cp "$work/system.conf" "$work/conf/softhsm2.conf"
expect 1 'not made by this script' 'refuses a configuration of somebody else' --token-dir "$work/conf" --reset

rm "$work/own/pin"
expect 1 'start anew with --reset' 'says what to do about a lost PIN' --token-dir "$work/own"
mkdir -p "$work/stale/.setup.old"
expect 0 'Made the token' 'makes a token beside what a killed run left' --token-dir "$work/stale"
expect 1 'is not an option' 'refuses an option that is none' --tokendir x
expect 1 'needs a directory' 'refuses --token-dir without one' --token-dir
expect 0 'Usage' 'has a help text' --help

# A machine with no C++ compiler, and no apt-get to fetch one with.
mkdir "$work/bin"
for program in sh dirname uname tr readlink grep ls cat id cc pkg-config softhsm2-util pkcs11-tool initdb chromium; do
    found=$(command -v "$program") && ln -s "$found" "$work/bin/$program"
done
path=$PATH PATH=$work/bin
holds 'needs no C++ compiler for the program' "$setup" --packages
expect 1 'gcc-c++' 'asks for a C++ compiler for the tests' --packages --with-tests
PATH=$path

for n in 1 2 3; do "$setup" --token-dir "$work/parallel" >"$work/parallel.$n" 2>&1 & done
wait
holds 'three at once make one token' [ "$(cat "$work"/parallel.? | grep -c '^Made the token')" = 1 ]

if command -v strace >/dev/null 2>&1; then
    strace -f -e trace=execve -s 1000 -o "$work/trace" "$setup" --token-dir "$work/traced" >/dev/null 2>&1
    holds 'no PIN on a command line' [ "$(grep -cF -e "$(cat "$work/traced/pin")" -e "$(cat "$work/traced/so-pin")" "$work/trace")" = 0 ]
fi

# The closing line of cargo's own tests, so that the totals are read alike.
printf 'softhsm-setup.sh: %s passed, %s failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
