#!/bin/sh
# make lint: first proves that the rules find what they are for, then applies them.
#     B            folder with what `make all` built: the names in its objects are checked
#     CLANG_FLAGS  with it, everything is compiled a second time by clang, as errors
#     TIDY=1       clang-tidy too (slow), if it is installed
set -u
export LC_ALL=C
here=$(dirname "$0")
status=0

echo "  rules find what they should"
sh "$here/selftest.sh" || exit 1

files=$(find broker client schemas tests worker -name '*.[ch]' | sort)
echo "  rules of the house ($(echo "$files" | wc -l) files)"
# shellcheck disable=SC2086
awk -f "$here/rules.awk" $files || status=1

# Names that others may collide with carry our prefix.
if [ -d "${B:-build}/obj" ]; then
    echo "  names in the objects"
    find "${B:-build}/obj" -name '*.o' ! -path '*/tests/*' ! -name 'libmillrace.o*' |
        while read -r object; do
            source=${object#"${B:-build}/obj/"}
            [ -f "${source%.o}.c" ] || continue
            nm -g --defined-only "$object" | awk -v file="${source%.o}.c" '
                $3 !~ /^(mr_|millrace_|main$)/ && $3 !~ /^__(asan|tsan|odr|start_|stop_)/ {
                    print file ": " $3 " is global but has no prefix of ours" }'
        done | { if grep .; then exit 1; fi; } || status=1
fi

# What was built with a sanitizer is for us only.
if [ -x "${B:-build}/millrace" ] && ! grep -q -e -fsanitize "${B:-build}/flags"; then
    echo "  what was built is hard to attack"
    sh "$here/selftest_built.sh" "${B:-build}/flags" || status=1
    find "${B:-build}" -maxdepth 1 \( -name 'millrace*' -o -name 'libmillrace.so.*' \) -type f -perm -u+x \
        -exec sh "$here/built.sh" {} + || status=1
    find "${B:-build}/tests/loadable" -name '*.so' -exec sh "$here/built.sh" {} + || status=1
    level=$(echo '#include <features.h>' | eval "$(sed "s/ -Wl,[^ ]*//g" "${B:-build}/flags") -E -dM -x c -" |
        sed -n 's/^#define __USE_FORTIFY_LEVEL //p')
    echo "  services are confined"
    sh "$here/units.sh" "$(realpath "${B:-build}")" broker/*.service.in worker/*.service.in || status=1
    [ "$level" = 3 ] || { echo "fortify is at level $level, not 3" && status=1; }
fi

if [ -n "${CLANG_FLAGS:-}" ] && command -v clang >/dev/null; then
    echo "  clang agrees with gcc"
    # shellcheck disable=SC2086
    for file in $(echo "$files" | grep '\.c$'); do
        extra=
        case $file in tests/examples/*) extra=-Iclient ;; tests/loadable/*) extra=-Iworker ;; esac
        clang $CLANG_FLAGS $extra -Werror -fsyntax-only "$file" || status=1
    done
fi

if [ "${TIDY:-}" = 1 ] && command -v clang-tidy >/dev/null; then
    echo "  clang-tidy"
    # shellcheck disable=SC2086
    clang-tidy --quiet --warnings-as-errors='*' \
        --checks='-*,clang-analyzer-*,bugprone-*,-bugprone-easily-swappable-parameters,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,-bugprone-reserved-identifier,-bugprone-narrowing-conversions,-clang-analyzer-valist.*,-bugprone-assignment-in-if-condition' \
        $(echo "$files" | grep '\.c$' | grep -v '^tests/') -- ${CLANG_FLAGS:-} || status=1
fi

[ "$status" -eq 0 ] && echo "  clean"
exit "$status"
