#!/bin/sh
# Runs test programs one after another: each log goes to $B/tests/NAME.log, check's summary
# line is shown. Exit 1 if one failed; all are run whatever happens. Called by the Makefile.
set -u
B=${B:-build}
LIMIT_S=${LIMIT_S:-240}
export LC_ALL=C MILLRACE_BUILD="$PWD/$B"

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

mkdir -p "$B/tests"
failed=
checks=0
started=$(date +%s)
for program in "$@"; do
    name=$(basename "$program")
    log=$B/tests/$name.log
    # shellcheck disable=SC2086
    timeout -k 10 "$LIMIT_S" $plain "$program" >"$log" 2>&1 </dev/null
    code=$?
    summary=$(grep -aE '^[0-9]+%: Checks: ' "$log" | tail -n 1)
    count=$(printf '%s' "$summary" | sed -n 's/.*Checks: \([0-9]*\),.*/\1/p')
    checks=$((checks + ${count:-0}))
    printf '%-36s %s\n' "$name" "${summary:-exit $code}"
    if [ "$code" -ne 0 ] || [ -z "$summary" ]; then
        failed="$failed $name"
        [ "$code" -eq 124 ] && echo "    stopped after $LIMIT_S s"
        grep -aE ':[FE]:|ERROR: |WARNING: ThreadSan|runtime error' "$log" | head -n 20 | sed 's/^/    /'
        echo "    log: $log"
    fi
done
took=$(($(date +%s) - started))
if [ -n "$failed" ]; then
    echo "FAILED after $took s:$failed"
    exit 1
fi
echo "All passed: $checks checks in $# programs, $took s."
