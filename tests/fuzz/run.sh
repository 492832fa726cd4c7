#!/bin/sh
# Runs harnesses for FUZZ_S seconds each, JOBS at a time, and prints one line for each as it
# ends. What one found to be worth keeping stays in $B/fuzz/NAME/corpus for the next time. Exit 1
# if there was a finding: its input and how to see it again are printed. Called by the Makefile.
#     tests/fuzz/run.sh PROGRAM...
set -u
B=${B:-build-fuzz}
FUZZ_S=${FUZZ_S:-30}
JOBS=${JOBS:-2}
export LC_ALL=C B FUZZ_S
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
# Large blocks that are freed again and again are not kept for long.
export ASAN_OPTIONS="${ASAN_OPTIONS:-quarantine_size_mb=16}"

# The settings of whoever calls must not reach the programs under test.
for name in $(env | sed -n 's/^\(MILLRACE_[A-Z_]*\)=.*/\1/p'); do
    unset "$name"
done

row() { printf '%-18s %12s %9s %8s %8s %8s\n' "$@"; }

one() {
    program=$1
    name=$(basename "$program" _fuzz)
    here=$B/fuzz/$name
    mkdir -p "$here/corpus" "$here/seeds" "$here/findings"
    FUZZ_PLANT=$here/seeds "$program" || return 1
    began=$(date +%s)
    "$program" -max_total_time="$FUZZ_S" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$here/findings/" "$here/corpus" "$here/seeds" >"$here/log" 2>&1
    code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$here/log")
    per_s=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$here/log")
    last=$(grep -a '^#[0-9].* cov: ' "$here/log" | tail -n 1)
    edges=$(printf '%s' "$last" | sed -n 's/.* cov: \([0-9]*\).*/\1/p')
    kept=$(printf '%s' "$last" | sed -n 's|.* corp: \([0-9]*\)/.*|\1|p')
    row "$name" "${runs:-?}" "${per_s:-?}" "${edges:-?}" "${kept:-?}" $((code != 0))
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$name" $(($(date +%s) - began)) "${runs:-0}" \
        "${edges:-0}" "${kept:-0}" $((code != 0)) >>"$B/fuzz/figures.tsv"
    [ "$code" -eq 0 ] && return 0
    grep -aE 'ERROR: |runtime error|SUMMARY: |assertion|ssertion' "$here/log" | head -n 5 | sed 's/^/    /'
    for input in $(sed -n 's/.*Test unit written to //p' "$here/log"); do
        echo "    see it again: $program $input"
    done
    echo "    log: $here/log"
    return 1
}

# Called by itself below, for one of them.
if [ "${1:-}" = --one ]; then
    one "$2"
    exit
fi

row target executions per_s edges inputs findings
if printf '%s\n' "$@" | xargs -P "$JOBS" -n 1 "$0" --one; then
    echo "No findings: $# targets, $FUZZ_S s each, address and undefined behaviour sanitizers."
else
    echo "FAILED: there are findings."
    exit 1
fi
