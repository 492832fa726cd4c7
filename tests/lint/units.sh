#!/bin/sh
# The services of systemd: read without a warning, and exposed at most so much (tenths; systemd counts from 0 to 10.0).
#     tests/lint/units.sh FOLDER-OF-PROGRAMS UNIT.service.in...
# First it shows that a unit that is worse would be found.
set -u
export LC_ALL=C
EXPOSURE_MAX=15
programs=$1
shift
if ! command -v systemd-analyze >/dev/null; then
    echo "systemd-analyze is not there: install systemd (make deps-dev)"
    exit 1
fi
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
status=0

# What is wrong with the unit, or nothing.
judge() {
    systemd-analyze verify "$1" 2>&1
    systemd-analyze security --offline=true --no-pager --threshold="$EXPOSURE_MAX" "$1" >"$folder/said" 2>&1 ||
        tail -n 1 "$folder/said"
    level=$(sed -n 's/.*Overall exposure level for [^ ]*: \([0-9]*\)\.\([0-9]\) .*/\1\2/p' "$folder/said")
    [ -n "$level" ] && [ "$level" -le "$EXPOSURE_MAX" ] || echo "exposure: ${level:-not told}"
}

for unit in "$@"; do
    name=$(basename "$unit" .in)
    file=$folder/$(echo "$name" | sed 's/@/@1/')
    sed "s|@PREFIX@/bin|$programs|" "$unit" >"$file"
    said=$(judge "$file")
    [ -z "$said" ] || { echo "$unit: $said" && status=1; }
    grep -qE '^(ExecStart|Environment)=.*(password|database|://)' "$file" &&
        echo "$unit: a secret on a command line or in the environment" && status=1
    # Without either libzmq ends the process when it starts a thread or listens.
    for needed in '^SystemCallFilter=.*sched_setscheduler' '^RestrictAddressFamilies=.*AF_NETLINK'; do
        grep -q "$needed" "$file" || { echo "$unit: $needed is missing" && status=1; }
    done
    for line in '/^SystemCallFilter=/d' '/^User=/d; s/^DynamicUser=.*/User=root/' 's/^LimitCORE/LimitCores/' \
        "s|$programs|/nonexistent|"; do
        sed "$line" "$file" >"$folder/worse-$(basename "$file")"
        [ -n "$(judge "$folder/worse-$(basename "$file")")" ] ||
            { echo "$unit: nobody notices $line" && status=1; }
    done
done
exit "$status"
