#!/bin/sh
# Each mutant of mutants.list, alive in a short run of the rig with the faults that provoke it,
# has to turn the run red; without any of them it is green. Prints which check caught it after how
# many seconds. Exit 0 only if all are caught. Called by `make mutants`.
#     B        folder of the build with MUTANTS=1
#     ONLY     names, by spaces: only these ("control" is the run without one)
#     TRIES    runs of a mutant, with other seeds, until it is caught
set -u
export LC_ALL=C
B=${B:-build-mutants}
TRIES=${TRIES:-4}
here=$(dirname "$0")
out=$B/mutants
mkdir -p "$out"

# seed, faults: exit code of the run
run() {
    "$B/tests/chaos/chaos" --seed "$1" --minutes "$minutes" --jobs "$jobs" --faults "$2" \
        --profile mutant --keep --folder "$out/$name" >"$out/$name.txt" 2>&1
}

# Which checks said so; a run that did not end says it itself.
catchers() {
    found=$(sed -n 's/^  BAD  \(C[0-9]*\) .*/\1/p' "$out/$name.txt" | uniq | tr '\n' ' ')
    grep -q 'There is no verdict' "$out/$name.txt" && found=
    printf '%s' "${found:-}"
}

wanted() {
    [ -z "${ONLY:-}" ] && return 0
    for one in $ONLY; do [ "$one" = "$1" ] && return 0; done
    return 1
}

minutes=0.25
jobs=4000
failed=
name=control
if wanted control; then
    started=$(date +%s)
    unset MILLRACE_MUTANT
    if run 1 "kill-worker,kill-broker,kill-client,freeze-worker,db-crash*2,db-backend,usurp-shard*2"
    then
        printf '%-24s green, as it has to be%26s s\n' control $(($(date +%s) - started))
        rm -rf "${out:?}/$name"
    else
        printf '%-24s RED: %s\n' control "$(catchers) $out/$name.txt"
        failed=control
    fi
fi

caught=0
count=0
while IFS='|' read -r name faults _; do
    name=$(echo "$name" | tr -d ' ')
    faults=$(echo "$faults" | tr -d ' ')
    case $name in '' | '#'*) continue ;; esac
    wanted "$name" || continue
    count=$((count + 1))
    started=$(date +%s)
    seed=1
    by=
    while [ -z "$by" ] && [ "$seed" -le "$TRIES" ]; do
        MILLRACE_MUTANT=$name
        export MILLRACE_MUTANT
        run "$seed" "$faults" </dev/null || by=$(catchers)
        unset MILLRACE_MUTANT
        seed=$((seed + 1))
    done
    took=$(($(date +%s) - started))
    if [ -n "$by" ]; then
        caught=$((caught + 1))
        printf '%-24s caught by %-32s %4d s\n' "$name" "$by" "$took"
        rm -rf "${out:?}/$name"
    else
        printf '%-24s NOT CAUGHT in %d runs; %s\n' "$name" "$TRIES" "$out/$name.txt"
        failed="$failed $name"
    fi
done <"$here/mutants.list"

echo "$caught of $count mutants caught"
[ -z "$failed" ]
