#!/bin/sh
# Many seeds, one after the other: SEED (the first), SEEDS (how many), MINUTES and JOBS of each, B.
# A line for each seed and their sums into .millrace/chaos/long.txt; exit 1 if one was red, or if
# too little happened (C11). All are run whatever happens.
set -u
export LC_ALL=C
out=.millrace/chaos
mkdir -p "$out"
summary=$out/long.txt
: >"$summary"
red=0
files=
seed=$SEED
last=$((SEED + SEEDS - 1))
while [ "$seed" -le "$last" ]; do
    if ! "$B/tests/chaos/chaos" --seed "$seed" --minutes "$MINUTES" --jobs "$JOBS" --profile long \
        >"$out/$seed.txt" 2>&1; then
        red=$((red + 1))
    fi
    grep "^SEED=$seed " "$out/$seed.txt" | tail -n 1 | tee -a "$summary"
    files="$files $out/$seed.txt"
    seed=$((seed + 1))
done

# Of a figure that the checker printed.
sum() {
    # shellcheck disable=SC2086
    awk -v name="$1" '$1 == name { sum += $2 } END { printf "%.0f", sum }' $files
}
for name in acknowledged lost duplicated_in_effect phantom kills freezes db_crashes link_cuts \
    quarantined; do
    printf '%-22s %s\n' "$name" "$(sum $name)" | tee -a "$summary"
done
for name in late_results in_doubt_settled redeliveries; do
    printf '%-22s %s\n' "$name" "$(sum $name)" | tee -a "$summary"
    [ "$(sum $name)" -gt 100 ] || red=$((red + 1))
done
largest() {
    # shellcheck disable=SC2086
    awk -v name="$1" '$1 == name && $2 > max { max = $2 } END { printf "%.1f", max }' $files
}
for name in restart_p99_ms restart_alone_p99_ms drain_s; do
    printf '%-22s %s in the worst seed\n' "$name" "$(largest $name)" | tee -a "$summary"
done
echo "$SEEDS seeds, $red red; the output of each is in $out/SEED.txt" | tee -a "$summary"
[ "$red" -eq 0 ]
