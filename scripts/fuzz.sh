#!/bin/sh
# Runs the fuzz targets of fuzz/ for FUZZ_SECONDS each (default 20), FUZZ_JOBS at once (default: one a core). Needs stable Rust and a C++ compiler.
#   fuzz.sh [TARGET..]            these targets, or all of them
#   FUZZ_SEED=1 fuzz.sh          the same inputs each time, as far as the time goes; at random without
#   fuzz.sh --corpus [TARGET..]   makes fuzz/corpus/ anew from seeds, itself and what was found since, cut to a few small inputs
set -eu
cd "$(dirname "$0")/.."

mode=run
if [ "${1-}" = --corpus ]; then mode=corpus; shift; fi
if [ $# = 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        file=${file##*/}
        set -- "$@" "${file%.rs}"
    done
fi

host=$(rustc -vV | sed -n 's/^host: //p')
built=${CARGO_TARGET_DIR:-target}/fuzz
export FUZZ_SECONDS="${FUZZ_SECONDS:-20}" FUZZ_BUILT="$built" FUZZ_PROGRAMS="$built/$host/release"

# What is fuzzed is what is shipped: the same versions, beside the fuzzer's own.
packages() { sed -n '/^name = /{N;s/name = "\(.*\)"\nversion = "\(.*\)"/\1 \2/p}' "$1"; }
packages Cargo.lock >"$(mkdir -p "$built" && echo "$built/locked")"
if packages fuzz/Cargo.lock | grep -v -x -F -f "$built/locked" | grep -v -E '^(passkey-hsm-fuzz|libfuzzer-sys|arbitrary|jobserver) '; then
    echo "fuzz.sh: these versions in fuzz/Cargo.lock are not those in Cargo.lock: cp Cargo.lock fuzz/ && cargo metadata --manifest-path fuzz/Cargo.toml" >&2
    exit 1
fi

# Coverage as cargo-fuzz asks for it; stable Rust has all of it but the sanitizers. Naming the host keeps it out of build scripts.
coverage='-C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 -C llvm-args=-sanitizer-coverage-inline-8bit-counters'
coverage="$coverage -C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS="--cfg fuzzing $coverage" CARGO_TARGET_DIR=$built \
    cargo build --quiet --release --locked --manifest-path fuzz/Cargo.toml --target "$host" --bins

# Runs one target. What it finds on the way stays in the target directory; what fails, in fuzz/artifacts/.
cat >"$built/one.sh" <<'ONE'
target=$1 log=$FUZZ_BUILT/$1.log
mkdir -p "$FUZZ_BUILT/corpus/$target" "fuzz/artifacts/$target"
set -- "fuzz/corpus/$target"
if [ -d "fuzz/regressions/$target" ]; then set -- "$@" "fuzz/regressions/$target"; fi
if "$FUZZ_PROGRAMS/$target" -max_total_time="$FUZZ_SECONDS" -timeout=10 -seed="${FUZZ_SEED:-0}" -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$target/" \
    "$FUZZ_BUILT/corpus/$target" "$@" >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    printf '%-22s %7s inputs/s %s\n' "$target" "$runs" "$(sed -n 's/^#[0-9]*\tDONE *\(cov: [0-9]*\).*\(corp: [0-9]*\).*/\1 \2/p' "$log")"
else
    tail -n 40 "$log"
    printf '*** FAILED: %s. Run it again: %s FILE (named above). Mended, the file goes to fuzz/regressions/%s/.\n' \
        "$target" "$FUZZ_PROGRAMS/$target" "$target"
    exit 1
fi
ONE

# merge TARGET INTO FROM..: adds to a directory what it takes to cover what the others cover; how often is not looked at.
merge() {
    target=$1
    shift
    "$FUZZ_PROGRAMS/$target" -set_cover_merge=1 -use_counters=0 "$@" >"$built/$target.log" 2>&1 || { cat "$built/$target.log"; exit 1; }
}

# A corpus for git, not for a long run: the seeds that differ, and of what was found the 32 smallest inputs that cover more.
keep() {
    seeds=$built/seeds merged=$built/merged found=$built/found
    rm -rf "$seeds"
    RUSTFLAGS='--cfg fuzzing' CARGO_TARGET_DIR=$built cargo run --quiet --locked --manifest-path fuzz/Cargo.toml --example seeds "$seeds"
    for target in "$@"; do
        rm -rf "$merged" "$found"
        mkdir -p "$merged" "$built/corpus/$target" "fuzz/corpus/$target"
        merge "$target" "$merged" "$seeds/$target"
        cp -r "$merged" "$found"
        merge "$target" "$found" "fuzz/corpus/$target" "$built/corpus/$target"
        for input in "$merged"/*; do rm "$found/${input##*/}"; done
        # shellcheck disable=SC2012 # libFuzzer names files by their hash
        ls -Sr "$found" | head -n 32 | while read -r input; do cp "$found/$input" "$merged/"; done
        rm -rf "fuzz/corpus/${target:?}"
        mv "$merged" "fuzz/corpus/$target"
        echo "$target: $(find "fuzz/corpus/$target" -type f | wc -l) inputs"
    done
}

if [ "$mode" = corpus ]; then
    keep "$@"
else
    jobs=${FUZZ_JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
    printf '%s\n' "$@" | xargs -n 1 -P "$jobs" sh "$built/one.sh"
fi
