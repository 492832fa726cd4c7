#!/bin/sh
# Many seeds, one after the other: SEED (the first), SEEDS (how many), MINUTES and JOBS of each, B.
# A line for each seed and their sums into .millrace/chaos/long.txt; exit 1 if one was red. All are
# run whatever happens.
set -u
export LC_ALL=C
out=.millrace/chaos
mkdir -p "$out"
summary=$out/long.txt
: >"$summary"
red=0
seed=$SEED
last=$((SEED + SEEDS - 1))
while [ "$seed" -le "$last" ]; do
    if ! "$B/tests/chaos/chaos" --seed "$seed" --minutes "$MINUTES" --jobs "$JOBS" --profile long \
        >"$out/$seed.txt" 2>&1; then
        red=$((red + 1))
    fi
    grep "^SEED=$seed " "$out/$seed.txt" | tail -n 1 | tee -a "$summary"
    seed=$((seed + 1))
done
echo "$SEEDS seeds, $red red; the output of each is in $out/SEED.txt" | tee -a "$summary"
[ "$red" -eq 0 ]
