#!/bin/sh
# Programs and shared objects are hard to attack: looked at in the files themselves.
#     tests/lint/built.sh FILE...
# Each property is one line of the table; selftest_built.sh shows that each line can fail.
set -u
export LC_ALL=C

# name | where: all, program, ours (not what tests load) | look at | is it there? | pattern
table='
position     |program|dynamic |yes|FLAGS_1.* PIE
relro        |all    |segments|yes|GNU_RELRO
bind-now     |all    |dynamic |yes|BIND_NOW|FLAGS_1.* NOW
stack-is-data|all    |segments|yes|GNU_STACK .* RW +0x
code-is-fixed|all    |segments|no |LOAD .* RWE
text-is-fixed|all    |dynamic |no |TEXTREL
library-path |ours   |dynamic |no |R(UN)?PATH
canary       |ours   |needs   |yes|^__stack_chk_fail
fortify      |ours   |needs   |yes|^__[a-z_]+_chk(@|$)
stack-probe  |ours   |probes  |yes|(or|mov)q +\$0x0,\(%rsp\)
branch-target|ours   |entries |yes|endbr64
hidden       |all    |exports |no |^mr_
zeroed       |all    |units   |no |^without -ftrivial-auto-var-init=zero
every-canary |all    |units   |no |^without -fstack-protector-strong
every-probe  |all    |units   |no |^without -fstack-clash-protection
every-branch |all    |units   |no |^without -fcf-protection
'

dynamic() { readelf -dW "$1"; }
segments() { readelf -lW "$1"; }
needs() { nm -D --undefined-only "$1" | awk '{ print $NF }'; }
exports() { nm -D --defined-only "$1" | awk '{ print $NF }'; }
# Frames that are larger than a page: a page each, and each is touched.
probes() { objdump -d --no-show-raw-insn "$1" | grep -A 1 'sub *\$0x1000,%rsp'; }
entries() { objdump -d --no-show-raw-insn "$1" | grep -A 1 -E '^[0-9a-f]+ <(main|millrace_open)>:'; }
# Compilers note their flags: what each file of C (not of an assembler) was compiled without.
units() {
    readelf --debug-dump=info "$1" 2>/dev/null | grep -E 'DW_AT_producer.*( C[0-9]+ |clang )' |
        awk '{ n++
            for (i in wanted) if (index($0, wanted[i]) == 0) print "without " wanted[i] }
            BEGIN { split("-ftrivial-auto-var-init=zero -fstack-protector-strong " \
                "-fstack-clash-protection -fcf-protection", wanted) }
            END { if (n == 0) for (i in wanted) print "without " wanted[i] ": no notes" }'
}

concerns() { # WHERE FILE
    case $1 in
    program) segments "$2" | grep -q INTERP ;;
    ours) case $2 in */tests/*) return 1 ;; esac ;;
    esac
}

status=0
# Flags that only processors of that family have.
family=$(uname -m)
for file in "$@"; do
    while IFS='|' read -r name where look is_there pattern; do
        [ -n "$name" ] || continue
        # shellcheck disable=SC2086
        set -- $name $where $look $is_there
        case $family-$1 in
        x86_64-*) ;;
        *-stack-probe | *-branch-target | *-every-branch) continue ;;
        esac
        concerns "$2" "$file" || continue
        found=no
        "$3" "$file" | grep -qE -- "$pattern" && found=yes
        [ "$found" = "$4" ] && continue
        echo "$file: $1: \"$pattern\" is $([ "$found" = yes ] || echo 'not ')in what \`$3\` shows"
        status=1
    done <<END
$table
END
done
exit "$status"
