# Rules that grep and a C compiler do not know. One pass over all files; a finding is one line
# "FILE:LINE: what", the exit code is 1 if there was one. Called by lint.sh.

function found(text) {
    printf "%s:%d: %s\n", FILENAME, FNR, text
    findings++
}

# The room of a file: the longest folder that has rules of its own.
function room_of(path,    n, i, names) {
    n = split("schemas/base schemas/wire schemas/sql broker/core broker worker/kinds " \
        "worker/road worker client tests", names, " ")
    for (i = 1; i <= n; i++)
        if (index(path, names[i] "/") == 1)
            return names[i]
    return ""
}

BEGIN {
    FUNCTION_LINES_MAX = 70
    FILE_LINES_MAX = 650

    # What a room may include of ours (prefixes); tests may include everything.
    allow["schemas/base"] = "schemas/base/"
    allow["schemas/wire"] = "schemas/base/ schemas/wire/"
    allow["schemas/sql"] = "schemas/base/ schemas/wire/ schemas/sql/"
    allow["broker/core"] = "schemas/base/ schemas/wire/ schemas/sql/rows.h broker/core/"
    allow["broker"] = "schemas/ broker/"
    allow["worker/road"] = "schemas/base/ worker/road/"
    allow["worker/kinds"] = "schemas/ worker/"
    allow["worker"] = "schemas/ worker/"
    allow["client"] = "schemas/ client/"
    allow["tests"] = "schemas/ broker/ worker/ client/ tests/"

    # Where a third-party header may appear (regular expressions of paths), besides tests/.
    only["libpq-fe.h"] = "^schemas/sql/[^/]*\\.c$"
    only["libpq-events.h"] = only["libpq-fe.h"]
    only["msgpack.h"] = "^schemas/wire/body\\.c$"
    only["czmq.h"] = "^(broker|worker)/[^/]*$"
    only["zmq.h"] = "^((broker|worker|client)/[^/]*|schemas/wire/(frames|curve|curve_socket)\\.c)$"
    only["check.h"] = "^$"
    only["microhttpd.h"] = "^$"
    only["sodium.h"] = "^(client/audit_chain|schemas/wire/seal(_ring)?)\\.c$"
    only["jansson.h"] = "^client/"
    only["ini.h"] = "^schemas/base/conf\\.c$"
    only["expat.h"] = "^worker/road/"
    only["curl/curl.h"] = "^worker/kinds/pay_charge\\.c$"
    only["ncurses.h"] = "^client/"
    only["curses.h"] = "^client/"

    split("strcpy strcat sprintf vsprintf gets system popen alloca sleep usleep atoi atol " \
        "atof strtok rand srand tmpnam mktemp signal assert setjmp longjmp", words, " ")
    for (i in words)
        banned[words[i]] = "in programs and libraries"
    split("pthread_mutex_lock pthread_mutex_init pthread_cond_wait pthread_create " \
        "thrd_create mtx_lock", words, " ")
    for (i in words)
        banned[words[i]] = "here: threads talk by message and are started with zactor"
    split("mr_clock_now mr_log clock_gettime gettimeofday time getrandom mr_uuid_new " \
        "getenv printf fprintf", words, " ")
    for (i in words)
        impure[words[i]] = 1
}

FNR == 1 {
    room = room_of(FILENAME)
    in_comment = 0
    opened = 0
    seen_include = 0
    own = FILENAME
    sub(/\.c$/, ".h", own)
    has_own = own != FILENAME && (getline line < own) >= 0
    close(own)
}

FNR == FILE_LINES_MAX + 1 { found("the file has more than " FILE_LINES_MAX " lines") }

/^[ \t]*#[ \t]*include[ \t]*"/ {
    header = $0
    sub(/^[^"]*"/, "", header)
    sub(/".*/, "", header)
    if (!seen_include && has_own && header != own)
        found("\"" own "\" comes first: a header has to prove itself complete")
    seen_include = 1
    may = 0
    n = split(allow[room], prefixes, " ")
    for (i = 1; i <= n; i++)
        if (index(header, prefixes[i]) == 1)
            may = 1
    # Examples see what a stranger sees.
    if (FILENAME ~ /^tests\/examples\// && header == "millrace.h")
        may = 1
    if (FILENAME ~ /^tests\/loadable\// && header == "millrace_worker.h")
        may = 1
    if (!may)
        found(room " may not include \"" header "\"")
    next
}

/^[ \t]*#[ \t]*include[ \t]*</ {
    header = $0
    sub(/^[^<]*</, "", header)
    sub(/>.*/, "", header)
    family = header ~ /^msgpack/ ? "msgpack.h" : header
    if (family in only && room != "tests" && FILENAME !~ only[family])
        found("<" header "> may not be included here")
    if (!seen_include && has_own)
        found("\"" own "\" comes first: a header has to prove itself complete")
    seen_include = 1
    next
}

{
    code = $0
    if (code ~ /TODO|FIXME|XXX[^X]/ && code !~ /XXXXXX/)
        found("work that is left over belongs in an issue")
    # Strings and remarks out, so that a word in them is no call.
    gsub(/\\\\/, "", code)
    gsub(/\\"/, "", code)
    gsub(/'"'/, "", code)
    gsub(/"[^"]*"/, "\"\"", code)
    if (in_comment) {
        if (code !~ /\*\//)
            next
        sub(/^.*\*\//, "", code)
        in_comment = 0
    }
    gsub(/\/\*([^*]|\*+[^*\/])*\*+\//, "", code)
    if (code ~ /\/\*/) {
        sub(/\/\*.*/, "", code)
        in_comment = 1
    }
}

# Layout puts the braces of a function, and only those, into the first column.
code ~ /^\{/ { opened = FNR }
code ~ /^\}/ {
    if (opened && FNR - opened - 1 > FUNCTION_LINES_MAX)
        found("the function has " (FNR - opened - 1) " lines, more than " FUNCTION_LINES_MAX)
    opened = 0
}

{
    rest = code
    while (match(rest, /[A-Za-z_][A-Za-z_0-9]*[ \t]*\(/)) {
        word = substr(rest, RSTART, RLENGTH)
        before = RSTART > 1 ? substr(rest, RSTART - 1, 1) : ""
        before2 = RSTART > 2 ? substr(rest, RSTART - 2, 2) : ""
        rest = substr(rest, RSTART + RLENGTH)
        sub(/[ \t]*\($/, "", word)
        if (before == "." || before2 == "->")
            continue # somebody's member of that name
        if (room != "tests" && word in banned)
            found(word "() is not used " banned[word])
        if (room == "tests" && (word == "sleep" || word == "usleep"))
            found(word "(): wait for a condition with a deadline")
        if (room == "broker/core" && word in impure)
            found(word "(): the core is pure")
    }
}

END { exit findings > 0 }
