#!/bin/sh
# Runs test programs, JOBS at a time: most of them wait most of the time. Each log goes to
# $B/tests/NAME.log, check's summary line and the seconds are shown. Exit 1 if one failed; all
# are run whatever happens. Called by the Makefile.
set -u
B=${B:-build}
LIMIT_S=${LIMIT_S:-240}
JOBS=${JOBS:-2}
export B LIMIT_S LC_ALL=C MILLRACE_BUILD="$PWD/$B"

# The settings of whoever calls must not reach the programs under test.
for name in $(env | sed -n 's/^\(MILLRACE_[A-Z_]*\)=.*/\1/p'); do
    [ "$name" = MILLRACE_BUILD ] || unset "$name"
done

export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-second_deadlock_stack=1}"

# gcc's thread sanitizer needs a memory layout without randomization on newer kernels.
plain=
case $B in
*tsan*)
    if setarch "$(uname -m)" -R true 2>/dev/null; then plain="setarch $(uname -m) -R"; fi
    ;;
esac

# What the log's last summary says, or nothing.
summary_of() { grep -aE '^[0-9]+%: Checks: ' "$1" | tail -n 1; }

one() {
    program=$1
    name=$(basename "$program")
    log=$B/tests/$name.log
    began=$(date +%s)
    # shellcheck disable=SC2086
    timeout -k 10 "$LIMIT_S" $plain "$program" >"$log" 2>&1 </dev/null
    code=$?
    summary=$(summary_of "$log")
    said=$(printf '%-36s %s  %s s' "$name" "${summary:-exit $code}" $(($(date +%s) - began)))
    if [ "$code" -eq 0 ] && [ -n "$summary" ]; then
        printf '%s\n' "$said"
        return 0
    fi
    [ "$code" -eq 124 ] && said="$said
    stopped after $LIMIT_S s"
    printf '%s\n%s\n    log: %s\n' "$said" "$(grep -aE \
        ':[FE]:|ERROR: |WARNING: ThreadSan|runtime error' "$log" | head -n 20 | sed 's/^/    /')" \
        "$log"
    : >"$log.failed"
    return 1
}

# Called by itself below, for one of them.
if [ "${1:-}" = --one ]; then
    one "$2"
    exit
fi

mkdir -p "$B/tests"
started=$(date +%s)
for program in "$@"; do rm -f "$B/tests/$(basename "$program").log.failed"; done
printf '%s\n' "$@" | xargs -P "$JOBS" -n 1 "$0" --one
code=$?
took=$(($(date +%s) - started))

failed=
checks=0
for program in "$@"; do
    name=$(basename "$program")
    count=$(summary_of "$B/tests/$name.log" | sed -n 's/.*Checks: \([0-9]*\),.*/\1/p')
    checks=$((checks + ${count:-0}))
    [ -e "$B/tests/$name.log.failed" ] && failed="$failed $name"
done
if [ -n "$failed" ] || [ "$code" -ne 0 ]; then
    echo "FAILED after $took s:$failed"
    exit 1
fi
echo "All passed: $checks checks in $# programs, $took s."
