#!/bin/sh
# A linter that finds nothing looks like clean code: each rule gets a file that breaks it.
set -u
rules=$(cd "$(dirname "$0")" && pwd)/rules.awk
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
mkdir -p schemas/base schemas/wire schemas/sql broker/core worker/kinds worker/road client \
    tests/unit
failed=0

# expect PATH WORDS-OF-THE-FINDING (or "" for none); the text is standard input.
expect() {
    cat >"$1"
    said=$(awk -f "$rules" "$1")
    if [ -n "$2" ]; then
        case $said in
        *"$2"*) ;;
        *) echo "lint: $1 should give \"$2\", gave \"$said\"" && failed=1 ;;
        esac
    elif [ -n "$said" ]; then
        echo "lint: $1 should be clean, gave \"$said\"" && failed=1
    fi
    rm -f "$1"
}

line() {
    printf '%s\n' "$@"
}

line '#include "schemas/wire/msg.h"' | expect schemas/base/a.c 'may not include'
line '#include "schemas/sql/pg.h"' | expect schemas/wire/a.c 'may not include'
line '#include "broker/core/core.h"' | expect worker/a.c 'may not include'
line '#include "worker/millrace_worker.h"' | expect broker/a.c 'may not include'
line '#include "client/millrace.h"' | expect worker/kinds/a.c 'may not include'
line '#include "schemas/sql/pg.h"' | expect broker/core/a.c 'may not include'
line '#include "schemas/sql/rows.h"' | expect broker/core/a.c ''
line '#include "tests/support/pg.h"' | expect client/a.c 'may not include'
line '#include "core.h"' | expect broker/core/a.c 'may not include'
line '#include "broker/core/core.h"' | expect tests/unit/a.c ''
line '#include <libpq-fe.h>' | expect worker/a.c 'may not be included here'
line '#include <libpq-fe.h>' | expect schemas/sql/a.h 'may not be included here'
line '#include <libpq-fe.h>' | expect schemas/sql/a.c ''
line '#include <msgpack/unpack.h>' | expect schemas/wire/pack.c 'may not be included here'
line '#include <msgpack.h>' | expect schemas/wire/body.c ''
line '#include <sodium.h>' | expect worker/a.c 'may not be included here'
line '#include <sodium.h>' | expect schemas/wire/seal.c ''
line '#include <czmq.h>' | expect broker/core/a.c 'may not be included here'
line '#include <czmq.h>' | expect client/a.c 'may not be included here'
line '#include <czmq.h>' | expect broker/a.c ''
line '#include <curl/curl.h>' | expect worker/kinds/other.c 'may not be included here'
line '#include <check.h>' | expect schemas/base/a.c 'may not be included here'

: >schemas/base/own.h
line '#include <stdio.h>' '#include "schemas/base/own.h"' |
    expect schemas/base/own.c 'comes first'
line '#include "schemas/base/other.h"' | expect schemas/base/own.c 'comes first'
line '#include "schemas/base/own.h"' '#include <stdio.h>' | expect schemas/base/own.c ''

line '    strcpy(a, b);' | expect client/a.c 'strcpy() is not used'
line '    x = sprintf (a, b);' | expect client/a.c 'sprintf() is not used'
line '    snprintf(a, 1, b); /* not strcpy(a) */ puts("system(x)");' | expect client/a.c ''
line '/* as with' '   strcpy(a, b)' ' */' 'int x;' | expect client/a.c ''
line '/* a */ strcpy(a, b);' | expect client/a.c 'strcpy() is not used'
line '    job->signal(x); job.system(x);' | expect client/a.c ''
line '    sleep(1);' | expect tests/unit/a.c 'with a deadline'
line '    pthread_create(&t, NULL, f, NULL);' | expect worker/a.c 'started with zactor'
line '    now = mr_clock_now();' | expect broker/core/a.c 'the core is pure'
line '    now = mr_clock_now();' | expect broker/a.c ''
line '/* TODO later */' | expect broker/a.c 'left over'

{
    line 'void' 'f(void)' '{'
    i=0
    while [ "$i" -lt 71 ]; do line '    g();' && i=$((i + 1)); done
    line '}'
} | expect broker/a.c 'has 71 lines'
{
    line 'void' 'f(void)' '{'
    i=0
    while [ "$i" -lt 70 ]; do line '    g();' && i=$((i + 1)); done
    line '}'
} | expect broker/a.c ''
{
    i=0
    while [ "$i" -lt 651 ]; do line 'int x;' && i=$((i + 1)); done
} | expect broker/a.c 'more than 650 lines'

exit "$failed"
