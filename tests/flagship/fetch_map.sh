#!/bin/sh
# fetch_map.sh FOLDER
#
# Puts the flagship's input into FOLDER: osm.net.xml (streets), drtstops.xml (stops),
# rides_demo.xml (requests) and `source`, one word: real or grid.
#
# Real input is the demand-responsive scenario of Berlin-Adlershof in Debian's package sumo-tools:
# downloaded with the package client, unpacked, never installed; sums are checked. Where that
# cannot be had (not Debian, no network, other contents), our own small grid is put there instead
# and a loud line says so. Works as root and as anybody; where the system has no package lists,
# lists of its own are fetched into a temporary folder and nothing else is touched.
# Exit: 0 the folder is filled, 64 usage, 73 it cannot be written.
set -u

NET_SUM=dcc30bd0cb98d30ac04f12f49d62bfcb91e056f632aea9c505f1b5a0dccef638
STOPS_SUM=be9c369dc720d135671558ab82bfde824993bc4f023da7a38559f555fc868ca6
RIDES_SUM=ef83cadfbf1a65c3c47c6e2294d030f802056daeed37d39323a39d94ad0719b1

if [ $# -ne 1 ]; then
    echo "usage: fetch_map.sh FOLDER" >&2
    exit 64
fi
here=$(dirname "$0")
folder=$1
export LC_ALL=C

sums_hold() {
    printf '%s  %s\n' "$NET_SUM" "$1/osm.net.xml" "$STOPS_SUM" "$1/drtstops.xml" \
        "$RIDES_SUM" "$1/rides_demo.xml" | sha256sum -c --status 2>/dev/null
}

say_real() {
    echo "map: Berlin-Adlershof from Debian's sumo-tools, SHA-256 checked"
    echo "map: (c) OpenStreetMap contributors, openstreetmap.org/copyright"
}

mkdir -p "$folder" && [ -w "$folder" ] || {
    echo "fetch_map.sh: cannot write to $folder; give a folder of your own" >&2
    exit 73
}
if [ "$(cat "$folder/source" 2>/dev/null)" = real ] && sums_hold "$folder"; then
    say_real
    exit 0
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/millrace-map.XXXXXX") || exit 73
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Package lists and locks of our own, so that no right to the system's is needed.
own_lists() {
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    set -- -qq -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" \
        -o APT::Sandbox::User= -o Debug::NoLocking=1
    apt-get "$@" update >>"$work/log" 2>&1 && apt-get "$@" download sumo-tools >>"$work/log" 2>&1
}

fetch() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
        why="this is not Debian (no apt-get, dpkg-deb)"
        return 1
    }
    (cd "$work" && apt-get -qq -o APT::Sandbox::User= download sumo-tools >>log 2>&1) \
        || (cd "$work" && own_lists) || {
        why="the package sumo-tools cannot be downloaded: $(grep -m 1 '^[EW]:' "$work/log")"
        return 1
    }
    dpkg-deb -x "$work"/sumo-tools_*.deb "$work/x" 2>>"$work/log" || {
        why="the package cannot be unpacked"
        return 1
    }
    sums_hold "$work/x/usr/share/sumo/tools/game/DRT" || {
        why="the package's files are not those that we know (SHA-256)"
        return 1
    }
}

rm -f "$folder/source"
if fetch; then
    for name in osm.net.xml drtstops.xml rides_demo.xml; do
        cp "$work/x/usr/share/sumo/tools/game/DRT/$name" "$folder/$name" || exit 73
    done
    echo real >"$folder/source"
    say_real
else
    cp "$here/grid.net.xml" "$folder/osm.net.xml" \
        && cp "$here/grid.stops.xml" "$folder/drtstops.xml" \
        && cp "$here/grid.rides.xml" "$folder/rides_demo.xml" || exit 73
    echo grid >"$folder/source"
    echo "map: NOT REAL INPUT: a 4 by 4 grid of our own, because $why"
fi
