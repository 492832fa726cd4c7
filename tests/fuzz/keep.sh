#!/bin/sh
# What long runs have found, made small: of the inputs in build-fuzz/fuzz/NAME/corpus those that
# together reach everything, the smallest first, as rows of hexadecimal in
# tests/fuzz/corpus/NAME/found.txt (at most KEEP_BYTES of text). After `make fuzz`.
#     tests/fuzz/keep.sh NAME...
set -u
B=${B:-build-fuzz}
KEEP_BYTES=${KEEP_BYTES:-16384}
export LC_ALL=C

for name in "$@"; do
    out=tests/fuzz/corpus/$name/found.txt
    few=$B/fuzz/$name/few
    rm -rf "$few"
    mkdir -p "$few" "$(dirname "$out")"
    "$B/tests/fuzz/${name}_fuzz" -merge=1 -use_value_profile=0 "$few" "$B/fuzz/$name/corpus" \
        >"$B/fuzz/$name/merge.log" 2>&1 || exit 1
    echo "# What long runs of ${name}_fuzz have found. Written by keep.sh; do not edit." >"$out"
    for input in $(ls -rS "$few"); do
        row="in $(od -An -v -tx1 "$few/$input" | tr -d ' \n')"
        [ $(($(wc -c <"$out") + ${#row})) -gt "$KEEP_BYTES" ] && break
        echo "$row" >>"$out"
    done
    echo "$name: $(grep -c '^in ' "$out") of $(find "$few" -type f | wc -l) inputs kept"
done
