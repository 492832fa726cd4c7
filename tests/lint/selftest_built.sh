#!/bin/sh
# A look at built files that never finds anything would look like hard files: each flag is left out once.
#     tests/lint/selftest_built.sh FLAGS   FLAGS: what `make` compiles with ($B/flags)
set -u
export LC_ALL=C
built=$(cd "$(dirname "$0")" && pwd)/built.sh
command=$(cat "$1") || exit 1
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failed=0
cat >a.c <<'END'
#include <stdio.h>
#include <string.h>
int mr_seen(char **v, int c);
__attribute__((noinline)) int
mr_seen(char **v, int c)
{
    char text[9000];
    memcpy(text, v[0], (size_t)c);
    return puts(text);
}
int
main(int c, char **v)
{
    return mr_seen(v, c);
}
END
printf '.section .data.code, "awx", @progbits\n.byte 0\n.section .note.GNU-stack\n' >code.s
link='-pie -Wl,-z,relro,-z,now,-z,noexecstack'

# expect FINDING LINK-FLAGS COMPILER-FLAGS: "" for none; -a-flag takes one away, +more adds
expect() {
    case $3 in
    +*) compile="$command ${3#+}" ;;
    *) compile=$(printf '%s' "$command " | sed "s/ $3\(=[a-z0-9]*\)\{0,1\} / /g") ;;
    esac
    if ! eval "$compile -o program a.c $2" 2>said; then
        cat said
        failed=1
        return
    fi
    sh "$built" program >said
    if [ -z "$1" ] && [ -s said ]; then
        echo "lint: a program with all flags should be clean, gave: $(cat said)"
        failed=1
    elif [ -n "$1" ] && ! grep -q "^program: $1:" said; then
        echo "lint: a program with $2, $3 should give \"$1\", gave: $(cat said)"
        failed=1
    fi
}

expect '' "$link" +
expect position '-no-pie -Wl,-z,relro,-z,now' +-fno-pic
expect relro '-pie -Wl,-z,norelro,-z,now' +
expect bind-now '-pie -Wl,-z,relro,-z,lazy' +
expect stack-is-data '-pie -Wl,-z,relro,-z,now,-z,execstack' +
expect code-is-fixed "$link code.s" +
expect text-is-fixed "$link -Wl,-z,notext" '+-fno-pic -mcmodel=large'
expect library-path "$link -Wl,-rpath,/tmp" +
expect canary "$link" -fstack-protector-strong
expect every-canary "$link" -fstack-protector-strong
expect fortify "$link" -D_FORTIFY_SOURCE
expect hidden "$link -rdynamic" -fvisibility
expect zeroed "$link" -ftrivial-auto-var-init
expect zeroed "$link" +-g0
if [ "$(uname -m)" = x86_64 ]; then
    expect stack-probe "$link" -fstack-clash-protection
    expect every-probe "$link" -fstack-clash-protection
    expect branch-target "$link" -fcf-protection
    expect every-branch "$link" -fcf-protection
fi
exit "$failed"
