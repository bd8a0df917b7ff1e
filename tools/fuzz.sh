#!/bin/sh
# Runs every fuzz target of a build folder for some seconds, from tests/fuzz/corpus/NAME. What libFuzzer
# finds of new inputs stays in the build folder; what crashes is kept there too and named.
#
#   tools/fuzz.sh BUILD SECONDS
set -eu
build=$1
seconds=$2
n=0
bad=0
for target in "$build"/fuzz_*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    name=$(basename "$target" | sed 's/^fuzz_//')
    found=$build/corpus/$name
    seeds=tests/fuzz/corpus/$name
    mkdir -p "$found" "$build/crashes"
    [ -d "$seeds" ] || seeds=
    echo "fuzz: $name for $seconds s"
    n=$((n + 1))
    # shellcheck disable=SC2086
    if ! "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="$build/crashes/$name-" "$found" $seeds >"$build/$name.log" 2>&1; then
        tail -40 "$build/$name.log"
        echo "fuzz: $name FAILED, its input is in $build/crashes"
        bad=$((bad + 1))
    fi
done
echo "fuzz: $n targets, $bad failed"
[ "$n" -gt 0 ] && [ "$bad" = 0 ]
