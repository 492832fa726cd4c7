# One file, no sub-directories' makefiles. Each flavour has its own folder: build, build-asan,
# build-tsan, build-fuzz. New files are found by their place (see "Rooms"). `make help` lists
# the targets; V=1 shows the commands; CI=true turns warnings into errors.

VERSION := 0.1.0
SOVERSION := 0
B ?= build
SAN ?=
PREFIX ?= /usr/local
DESTDIR ?=
# Debian's own, for which python3-zmq and python3-msgpack are.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
FUZZ_S ?= 30
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh
Q := $(if $(V),,@)
# This file once more; with a -j of ours unless somebody gave one.
AGAIN = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))
say = $(if $(V),,@printf '  %-6s %s\n' '$(1)' '$(2)')

# ---- Flags ---------------------------------------------------------------------------------

ifeq ($(origin CC),default)
CC := gcc
endif
OBJCOPY ?= objcopy

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
    -Wmissing-prototypes -Wformat=2 -Werror=format-security -Wvla $(if $(filter true,$(CI)),-Werror)
# Flags that this compiler does not know are left out: other architectures, older clangs.
known = $(if $(shell echo 'int x;' | $(CC) -Werror $(1) -c -x c -o /dev/null - 2>&1),,$(1))
ZERO := -ftrivial-auto-var-init=zero
# What an attacker finds who has found a bug. tests/lint/built.sh looks at what was built.
HARDEN := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong \
    $(call known,-fstack-clash-protection) $(call known,-fcf-protection=full) \
    $(or $(call known,$(ZERO)),$(call known,$(ZERO) \
    -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang))
ifeq ($(SAN),)
OPT := -O2 -g -grecord-gcc-switches $(HARDEN)
else
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
endif
PACKAGES := libzmq libczmq libsodium libpq msgpack jansson libmicrohttpd inih expat libcurl ncursesw check
pkg = $(shell pkg-config --$(1) $(2) 2>/dev/null)
# System headers are not ours to warn about; the -D of ncurses would fight with ours.
PKG_CFLAGS := $(patsubst -I%,-isystem%,$(call pkg,cflags-only-I,$(PACKAGES)))

CPPFLAGS += $(if $(MUTANTS),-DMR_MUTANTS) -D_GNU_SOURCE -DMILLRACE_VERSION='"$(VERSION)"' -I. $(PKG_CFLAGS)
# PIC everywhere: the same objects go into programs (PIE) and into the shared library.
CFLAGS += -std=c17 -fPIC -fno-semantic-interposition -fvisibility=hidden -pthread $(WARN) $(OPT)
HARDEN_LINK := -Wl,-z,relro,-z,now,-z,noexecstack
LDFLAGS += -pthread $(HARDEN_LINK) -Wl,--as-needed \
    $(if $(SAN),-fsanitize=$(SAN))
PIE := -pie

MR_LIBS := $(foreach p,libpq msgpack libsodium inih,$(call pkg,libs,$p)) -lm
ZMQ_LIBS := $(call pkg,libs,libczmq) $(call pkg,libs,libzmq)
CLI_LIBS := $(foreach p,jansson ncursesw,$(call pkg,libs,$p))
WORKER_LIBS := $(foreach p,expat libcurl,$(call pkg,libs,$p)) -ldl
TEST_LIBS := $(foreach p,check libmicrohttpd,$(call pkg,libs,$p)) $(CLI_LIBS) $(WORKER_LIBS)

# ---- Rooms: where a file lies decides what it is part of -------------------------------------

src = $(sort $(wildcard $(addsuffix /*.c,$(1))))
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
# The file of a folder that holds main(), or nothing.
main_of = $(if $(1),$(shell grep -lxE 'main.(void|int .*).' $(1) 2>/dev/null))

MR_SRC := $(call src,schemas/base schemas/wire schemas/sql)
CORE_SRC := $(call src,broker/core)
BROKER_SRC := $(call src,broker)
ROAD_SRC := $(call src,worker/road)
KINDS_SRC := $(call src,worker/kinds)
WORKER_SRC := $(call src,worker)
LIB_SRC := $(sort $(wildcard client/lib_*.c))
CLI_SRC := $(filter-out $(LIB_SRC),$(call src,client))
SUPPORT_SRC := $(call src,tests/support)
FLAG_SRC := $(call src,tests/flagship)
CHAOS_SRC := $(call src,tests/chaos)
ATTACK_SRC := $(call src,tests/attacker)

BROKER_MAIN := $(call main_of,$(BROKER_SRC))
WORKER_MAIN := $(call main_of,$(WORKER_SRC))
CLI_MAIN := $(call main_of,$(CLI_SRC))
FLAG_MAIN := $(call main_of,$(FLAG_SRC))
CHAOS_MAIN := $(call main_of,$(CHAOS_SRC))

# Archives hold everything but mains, so that tests reach all of it.
LIBMR := $(B)/libmr.a
LIBCORE := $(B)/lib/core.a
LIBBROKER := $(B)/lib/broker.a
LIBROAD := $(B)/lib/road.a
LIBKINDS := $(B)/lib/kinds.a
LIBWORKER := $(B)/lib/worker.a
LIBCLI := $(B)/lib/client.a
LIBCLIENT := $(B)/lib/libclient.a
LIBSUPPORT := $(B)/lib/support.a
LIBFLAGSHIP := $(B)/lib/flagship.a
LIBCHAOS := $(B)/lib/chaos.a

PROGRAMS := $(if $(BROKER_MAIN),$(B)/millrace-broker) $(if $(WORKER_MAIN),$(B)/millrace-worker) \
    $(if $(CLI_MAIN),$(B)/millrace) $(patsubst tests/flagship/%.c,$(B)/millrace-%,$(FLAG_MAIN))
LIBRARY := $(if $(LIB_SRC),$(B)/libmillrace.a $(B)/libmillrace.so $(B)/millrace.pc)

test_bins = $(patsubst tests/%.c,$(B)/tests/%,$(sort $(wildcard $(1))))
UNIT := $(call test_bins,tests/unit/*_test.c)
SIM := $(call test_bins,tests/sim/*_test.c)
SIM_SRC := $(filter-out %_test.c,$(call src,tests/sim))
INTEGRATION := $(call test_bins,tests/integration/*_test.c)
LONG := $(call test_bins,tests/integration/long_job.c)
BENCH := $(call test_bins,tests/bench/*_bench.c)
VERBS := hello welcome ping bye error submit ack watch event credit jobs done beat revoke call reply
FUZZ := $(sort $(call test_bins,tests/fuzz/*_fuzz.c) $(VERBS:%=$(B)/tests/fuzz/wire_%_fuzz))
CHAOS := $(call test_bins,$(CHAOS_MAIN))
ATTACK := $(B)/tests/attacker/attack
EXAMPLES := $(call test_bins,tests/examples/*.c)
LOADABLE := $(addsuffix .so,$(call test_bins,tests/loadable/*.c))

# ---- Compile and link ------------------------------------------------------------------------

.PHONY: all
all: $(LIBMR) $(LIBRARY) $(PROGRAMS)

# A change of flags rebuilds; an unchanged stamp is left alone.
FLAGS_NOW := $(CC) $(CPPFLAGS) $(CFLAGS) $(HARDEN_LINK)
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $@ || \
	    printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' > $@
.PHONY: FORCE
FORCE:

$(B)/obj/%.o: %.c $(B)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Migrations are embedded as they are.
$(call obj,$(wildcard schemas/sql/migrate*.c)): $(sort $(wildcard schemas/sql/*.sql schemas/sql/*/*.sql))

define archive
$(1): $(2)
	$$(call say,AR,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(Q)ar rcs $$@ $(2)
endef
$(eval $(call archive,$(LIBMR),$(call obj,$(MR_SRC))))
$(eval $(call archive,$(LIBCORE),$(call obj,$(CORE_SRC))))
$(eval $(call archive,$(LIBBROKER),$(call obj,$(filter-out $(BROKER_MAIN),$(BROKER_SRC)))))
$(eval $(call archive,$(LIBROAD),$(call obj,$(ROAD_SRC))))
$(eval $(call archive,$(LIBKINDS),$(call obj,$(KINDS_SRC))))
$(eval $(call archive,$(LIBWORKER),$(call obj,$(filter-out $(WORKER_MAIN),$(WORKER_SRC)))))
$(eval $(call archive,$(LIBCLI),$(call obj,$(filter-out $(CLI_MAIN),$(CLI_SRC)))))
$(eval $(call archive,$(LIBCLIENT),$(call obj,$(LIB_SRC))))
$(eval $(call archive,$(LIBSUPPORT),$(call obj,$(SUPPORT_SRC))))
FLAG_OWN := $(foreach f,$(FLAG_MAIN),$f $(patsubst %.c,%_%.c,$f))
$(eval $(call archive,$(LIBFLAGSHIP),$(call obj,$(filter-out $(FLAG_OWN),$(FLAG_SRC)))))
$(eval $(call archive,$(LIBCHAOS),$(call obj,$(filter-out $(CHAOS_MAIN),$(CHAOS_SRC)))))

define link
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(PIE) $(LDFLAGS) -o $@ $(filter %.o,$^) \
	    -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(1)
endef

$(B)/millrace-broker: $(call obj,$(BROKER_SRC) $(CORE_SRC)) $(LIBMR)
	$(call link,$(ZMQ_LIBS) $(MR_LIBS))

# -rdynamic: kinds in shared objects find the API (all that is not hidden) in the program.
$(B)/millrace-worker: $(call obj,$(WORKER_SRC) $(KINDS_SRC) $(ROAD_SRC)) $(LIBMR)
	$(call link,-rdynamic $(ZMQ_LIBS) $(WORKER_LIBS) $(MR_LIBS))

$(B)/millrace: $(call obj,$(CLI_SRC) $(LIB_SRC)) $(LIBMR)
	$(call link,$(ZMQ_LIBS) $(CLI_LIBS) $(MR_LIBS))

# millrace-X is tests/flagship/X.c with X_*.c and what is no other program's (the archive).
define flagship
$(B)/millrace-$(1): $(call obj,$(filter tests/flagship/$(1).c tests/flagship/$(1)_%.c, \
    $(FLAG_SRC))) $(LIBFLAGSHIP) $(LIBSUPPORT) $(LIBROAD) $(LIBCLI) $(LIBCLIENT) $(LIBMR)
	$$(call link,$$(ZMQ_LIBS) $$(TEST_LIBS) $$(MR_LIBS))
endef
$(foreach p,$(patsubst tests/flagship/%.c,%,$(FLAG_MAIN)),$(eval $(call flagship,$p)))

# ---- The client library ----------------------------------------------------------------------

# One relocatable object with only millrace_* left global: neither form of the library leaks
# a name of ours into the program that uses it.
$(B)/obj/libmillrace.o: $(call obj,$(LIB_SRC)) $(LIBMR)
	$(call say,LD,$@)
	$(Q)$(CC) -r -nostdlib -o $@.all $(filter %.o,$^) $(LIBMR)
	$(Q)$(OBJCOPY) -w --keep-global-symbol='millrace_*' $@.all $@
	@rm -f $@.all

$(eval $(call archive,$(B)/libmillrace.a,$(B)/obj/libmillrace.o))

$(B)/libmillrace.so.$(SOVERSION): $(call obj,$(LIB_SRC)) $(LIBMR) client/libmillrace.map
	$(call say,LD,$@)
	$(Q)$(CC) -shared $(LDFLAGS) -Wl,-soname,libmillrace.so.$(SOVERSION) \
	    -Wl,--version-script=client/libmillrace.map $(if $(SAN),,-Wl,-z,defs) -o $@ \
	    $(filter %.o,$^) $(LIBMR) $(call pkg,libs,libzmq) $(MR_LIBS)

$(B)/libmillrace.so: $(B)/libmillrace.so.$(SOVERSION)
	@ln -sf $(<F) $@

$(B)/millrace.pc: client/millrace.pc.in Makefile
	@mkdir -p $(@D)
	@sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@VERSION@|$(VERSION)|g' $< > $@

# ---- Tests, benches, examples ----------------------------------------------------------------

# tests/unit/<room>_<module>_test.c is linked with the archives of its room.
ARCHIVES_core := $(LIBCORE)
ARCHIVES_broker := $(LIBBROKER) $(LIBCORE)
ARCHIVES_road := $(LIBROAD)
ARCHIVES_flagship := $(LIBFLAGSHIP) $(LIBROAD)
ARCHIVES_chaos := $(LIBCHAOS) $(LIBSUPPORT) $(LIBCLI) $(LIBCLIENT)
ARCHIVES_kinds := $(LIBKINDS) $(LIBWORKER) $(LIBROAD)
ARCHIVES_worker := $(LIBWORKER) $(LIBKINDS) $(LIBROAD) $(LIBSUPPORT) $(LIBCLI) $(LIBCLIENT)
ARCHIVES_client := $(LIBCLI) $(LIBCLIENT) $(LIBSUPPORT)
ARCHIVES_bench := $(LIBSUPPORT)
ARCHIVES_support := $(LIBSUPPORT) $(LIBCLI) $(LIBCLIENT)
ARCHIVES_sql := $(LIBSUPPORT) $(LIBCLI) $(LIBCLIENT)
room = $(firstword $(subst _, ,$(notdir $(1))))

define unit
$(1): $(1:$(B)/tests/%=$(B)/obj/tests/%.o) $(ARCHIVES_$(call room,$(1))) $(LIBMR)
	$$(call link,$$(ZMQ_LIBS) $$(TEST_LIBS) $$(MR_LIBS))
endef
$(foreach t,$(UNIT),$(eval $(call unit,$t)))

# Whatever asks for the time in there gets the simulated one.
$(SIM): LDFLAGS += -Wl,--wrap=mr_clock_now
$(SIM): $(B)/tests/%: $(B)/obj/tests/%.o $(call obj,$(SIM_SRC)) $(LIBCORE) $(LIBWORKER) $(LIBMR)
	$(call link,$(TEST_LIBS) $(MR_LIBS))

$(INTEGRATION) $(LONG) $(BENCH): $(B)/tests/%: $(B)/obj/tests/%.o $(LIBFLAGSHIP) $(LIBSUPPORT) $(LIBCLI) $(LIBCLIENT) $(LIBROAD) \
    $(LIBCORE) $(LIBMR)
	$(call link,$(ZMQ_LIBS) $(TEST_LIBS) $(MR_LIBS))
# The same kernel without a queue around it.
$(B)/tests/bench/calc_bench: $(call obj,worker/kinds/ep.c)

$(CHAOS): $(B)/tests/%: $(B)/obj/tests/%.o $(LIBCHAOS) $(LIBSUPPORT) $(LIBCLI) $(LIBCLIENT) $(LIBMR)
	$(call link,$(ZMQ_LIBS) $(TEST_LIBS) $(MR_LIBS))

$(ATTACK): $(call obj,$(ATTACK_SRC)) $(LIBSUPPORT) $(LIBCLI) $(LIBCLIENT) $(LIBMR)
	$(call link,$(ZMQ_LIBS) $(TEST_LIBS) $(MR_LIBS))

# Examples see what a stranger sees: the installed header and the shared library.
$(EXAMPLES): $(B)/tests/%: tests/%.c client/millrace.h $(B)/libmillrace.so
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -Iclient $(PIE) -o $@ $< $(LDFLAGS) -L$(B) -lmillrace \
	    -Wl,-rpath,'$$ORIGIN/../..'

$(LOADABLE): $(B)/tests/%.so: tests/%.c $(wildcard worker/*.h) $(B)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Iworker $(CFLAGS) -shared -o $@ $< $(LDFLAGS) $(call pkg,libs,msgpack)

# A harness is a libFuzzer entry point under clang; elsewhere the same file is linked with a
# main() that replays files. wire_VERB_fuzz is wire_verb.c for that verb.
LIBFUZZER := $(filter fuzzer%,$(SAN))
LARGE := -Wl,--wrap=calloc -Wl,--wrap=free
FUZZ_WRAP := $(if $(LIBFUZZER),$(LARGE))
FUZZ_COMMON := $(call obj,tests/fuzz/fuzz.c $(if $(LIBFUZZER),tests/fuzz/plant.c tests/fuzz/large.c, \
    tests/fuzz/replay.c))
$(VERBS:%=$(B)/obj/tests/fuzz/wire_%_fuzz.o): $(B)/obj/tests/fuzz/wire_%_fuzz.o: \
    tests/fuzz/wire_verb.c $(B)/flags
	$(call say,CC,$< ($*))
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -DVERB='"$*"' $(CFLAGS) -MMD -MP -c -o $@ $<

define fuzz
$(1): $(1:$(B)/tests/%=$(B)/obj/tests/%.o) $(FUZZ_COMMON) $(ARCHIVES_$(call room,$(1))) $(LIBMR)
	$$(call link,$$(ZMQ_LIBS) $$(TEST_LIBS) $$(MR_LIBS) $$(FUZZ_WRAP))
endef
$(foreach t,$(FUZZ),$(eval $(call fuzz,$t)))

.PHONY: tests test test-built unit
tests: $(UNIT) $(SIM) $(INTEGRATION) $(LONG) $(CHAOS) $(ATTACK) $(EXAMPLES) $(LOADABLE) $(FUZZ)

RUN_TESTS = B=$(B) PYTHON=$(PYTHON) tests/run_tests.sh

unit: $(UNIT) $(SIM)
	$(Q)$(RUN_TESTS) $(UNIT) $(SIM)

test-built: all tests
	$(Q)$(RUN_TESTS) $(UNIT) $(SIM) $(FUZZ) $(INTEGRATION) $(ATTACK)

# pkg-config is asked when make starts, so what needs fresh packages runs in a second make.
test: deps
	$(Q)$(AGAIN) test-built

# What somebody may try against a broker, and a table of what became of it: tests/attacker.
.PHONY: attack attack-built
attack: deps
	$(Q)$(AGAIN) attack-built
attack-built: all $(ATTACK)
	$(Q)MILLRACE_BUILD=$(CURDIR)/$(B) $(ATTACK)

# Jobs of SECONDS_LONG (600) seconds on busy processors: none of them may be taken for lost.
.PHONY: long-job long-job-built
long-job: deps
	$(Q)$(AGAIN) long-job-built
long-job-built: all $(LONG) $(LOADABLE)
	$(Q)MILLRACE_BUILD=$(CURDIR)/$(B) $(LONG)

# Worlds from seeds, on all processors; SEED=n [TRACE=1] replays one. See tests/sim/README.md.
# What was given, not the default of another target.
given = $(if $(filter command environment,$(firstword $(origin $(1)))),$($(1)),$(2))
SECONDS ?= 3600
FROM ?= 1
.PHONY: sim sim-built
sim: deps
	$(Q)$(AGAIN) sim-built
sim-built: $(SIM)
	$(Q)for s in $(SIM); do SEED='$(call given,SEED)' "$$s" \
	    $(call given,SEEDS,20000) $(SECONDS) $(FROM) || exit 1; done

# One of them: make bench-submit-bulk is tests/bench/submit_bulk_bench.
BENCH_NAMES := $(subst _,-,$(BENCH:$(B)/tests/bench/%_bench=bench-%))
BENCH_LONG := backlog snapshot restart rescue
.PHONY: bench bench-built $(BENCH_NAMES)
bench: deps
	$(Q)$(AGAIN) bench-built
bench-built: all $(BENCH) $(LOADABLE)
	$(Q)for b in $(filter-out $(BENCH_LONG:%=$(B)/tests/bench/%_bench),$(BENCH)); do \
	    "$$b" || exit 1; done
$(BENCH_NAMES): bench-%: all $(BENCH) $(LOADABLE)
	$(Q)$(B)/tests/bench/$(subst -,_,$*)_bench

# Small variants, judged: a ratio that is worse than half of its target is a failure.
BENCH_QUICK := e2e=100000 latency=500 alloc=50000
.PHONY: bench-quick bench-quick-built
bench-quick: deps
	$(Q)$(AGAIN) bench-quick-built
bench-quick-built: all $(BENCH) $(LOADABLE)
	$(Q)for b in $(BENCH_QUICK); do \
	    BENCH_JUDGE=1 BENCH_JOBS=$${b#*=} $(B)/tests/bench/$${b%=*}_bench || exit 1; done

.PHONY: asan asan-built tsan tsan-built fuzz fuzz-built
asan: deps
	$(Q)$(AGAIN) asan-built B=build-asan SAN=address,undefined
asan-built: all tests
	$(Q)CK_FORK=no $(RUN_TESTS) $(UNIT) $(SIM) $(FUZZ)
	$(Q)$(RUN_TESTS) $(INTEGRATION)

# libzmq and libpq are not instrumented: what runs here is what has no foreign threads in it.
tsan: deps
	$(Q)$(AGAIN) tsan-built B=build-tsan SAN=thread
TSAN_UNIT := $(filter $(addprefix $(B)/tests/unit/,base_% core_%),$(UNIT))
tsan-built: $(TSAN_UNIT) $(SIM)
	$(Q)CK_FORK=no $(RUN_TESTS) $(TSAN_UNIT) $(SIM)

fuzz: deps-dev
	$(Q)$(AGAIN) fuzz-built CC=clang B=build-fuzz \
	    SAN=fuzzer-no-link,address,undefined
fuzz-built: LDFLAGS += -fsanitize=fuzzer
fuzz-built: $(FUZZ)
	$(Q)B=$(B) FUZZ_S=$(FUZZ_S) JOBS=$(JOBS) tests/fuzz/run.sh $(if $(ONLY),$(filter \
	    $(ONLY:%=$(B)/tests/fuzz/%_fuzz),$(FUZZ)),$(FUZZ))

# ---- Chaos -----------------------------------------------------------------------------------

# Broker, workers, clients and PostgreSQL under a schedule of faults: tests/chaos/README.md.
.PHONY: chaos chaos-built chaos-long chaos-long-built
SEED ?= 1
SEEDS ?= 20
MINUTES ?= 2
FAULTS ?=
PROXY ?=
CHAOS_JOBS ?= 60000
chaos: deps
	$(Q)$(AGAIN) chaos-built
chaos-built: all $(CHAOS) $(LOADABLE)
	$(Q)$(B)/tests/chaos/chaos --seed $(SEED) --minutes $(MINUTES) --jobs $(CHAOS_JOBS) \
	    --faults '$(FAULTS)' $(if $(PROXY),--proxy)
chaos-long: deps
	$(Q)$(AGAIN) chaos-long-built
chaos-long-built: all $(CHAOS) $(LOADABLE)
	$(Q)B=$(B) SEED=$(SEED) SEEDS=$(SEEDS) MINUTES=$(MINUTES) JOBS=$(CHAOS_JOBS) \
	    tests/chaos/long.sh

# Each deliberate bug of tests/chaos/mutants.list has to turn a run red: a build of its own, which no
# release is made from. A quarter of an hour; ONLY='control fence_dropped' for some of them.
.PHONY: mutants mutants-built
mutants: deps
	$(Q)$(AGAIN) mutants-built B=build-mutants MUTANTS=1
mutants-built: all $(CHAOS) $(B)/tests/loadable/chaos.so
	$(Q)B=$(B) ONLY='$(ONLY)' tests/chaos/mutants.sh

# ---- Everyday --------------------------------------------------------------------------------

.PHONY: deps deps-dev run run-built
deps:
	$(Q).ci/deps build
deps-dev:
	$(Q).ci/deps build dev

run: deps
	$(Q)$(AGAIN) run-built
run-built: all
	$(Q)B=$(B) MAP='$(MAP)' BREAK='$(BREAK)' $(B)/millrace-demo

OUR_C = $(shell find broker client schemas tests worker -name '*.[ch]' | sort)
.PHONY: lint lint-built fmt fmt-check
lint: deps deps-dev
	$(Q)$(AGAIN) lint-built
# Without the shell's quotes, for those who split words themselves.
PLAIN_CPPFLAGS = $(filter-out -DMILLRACE_VERSION%,$(CPPFLAGS)) -DMILLRACE_VERSION="$(VERSION)"
lint-built: all
	$(Q)B=$(B) TIDY=$(TIDY) CLANG_FLAGS='$(PLAIN_CPPFLAGS) -std=c17 $(WARN)' \
	    tests/lint/lint.sh
fmt: deps-dev
	$(Q)clang-format -i $(OUR_C)
fmt-check: deps-dev
	$(Q)clang-format --dry-run -Werror $(OUR_C)

.PHONY: compile_commands.json
compile_commands.json:
	$(call say,GEN,$@)
	@{ echo '['; for f in $(filter-out tests/examples/%,$(shell find broker client schemas \
	    tests worker -name '*.c')); do \
	    printf '%s{"directory":"%s","file":"%s","command":"%s"}\n' "$$comma" "$(CURDIR)" "$$f" \
	    '$(subst ",\\\",$(CC) $(PLAIN_CPPFLAGS) $(CFLAGS)) -c '"$$f"; \
	    comma=,; done; echo ']'; } > $@

.PHONY: install uninstall
UNITS := millrace-broker.service millrace-worker@.service
INSTALLED := bin/millrace bin/millrace-broker bin/millrace-worker lib/libmillrace.a \
    lib/libmillrace.so.$(SOVERSION) lib/libmillrace.so lib/pkgconfig/millrace.pc \
    include/millrace.h include/millrace_worker.h $(UNITS:%=lib/systemd/system/%)
install: all
	$(Q)install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin lib/pkgconfig lib/systemd/system include)
	$(Q)install -m 755 $(filter-out $(B)/millrace-demo $(B)/millrace-payd,$(PROGRAMS)) \
	    $(DESTDIR)$(PREFIX)/bin
	$(Q)install -m 644 $(B)/libmillrace.a $(DESTDIR)$(PREFIX)/lib
	$(Q)install -m 755 $(B)/libmillrace.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib
	$(Q)ln -sf libmillrace.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/libmillrace.so
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@VERSION@|$(VERSION)|g' client/millrace.pc.in \
	    > $(DESTDIR)$(PREFIX)/lib/pkgconfig/millrace.pc
	$(Q)for u in broker/millrace-broker.service worker/millrace-worker@.service; do \
	    sed 's|@PREFIX@|$(PREFIX)|g' "$$u.in" \
	        > "$(DESTDIR)$(PREFIX)/lib/systemd/system/$${u##*/}" || exit 1; done
	$(Q)install -m 644 client/millrace.h worker/millrace_worker.h \
	    $(DESTDIR)$(PREFIX)/include
uninstall:
	$(Q)rm -f $(addprefix $(DESTDIR)$(PREFIX)/,$(INSTALLED))

.PHONY: clean help
clean:
	$(Q)rm -rf build build-asan build-tsan build-fuzz build-mutants compile_commands.json

help:
	@echo 'make run        the flagship on the map of Berlin-Adlershof (MAP=FILE, BREAK=1)'
	@echo 'make test       unit and integration tests against a private PostgreSQL'
	@echo 'make            programs and libraries into $(B)/'
	@echo 'make unit       unit tests only            make bench     figures as JSON lines'
	@echo 'make bench-e2e  one of them (BENCH_JOBS=, BENCH_RUNS=); bench-quick: small and judged'
	@echo 'make attack     what strangers and holders of a key may try; a table of what became of it'
	@echo 'make long-job   SECONDS_LONG=600: no live job is rescued while all processors are busy'
	@echo 'make asan       tests under address and undefined behaviour sanitizers'
	@echo 'make tsan       core and base under the thread sanitizer'
	@echo 'make sim        the simulator: SEEDS=20000 SECONDS=3600 FROM=1; SEED=n TRACE=1 replays one'
	@echo 'make chaos      everything killed, frozen, cut; then judged (SEED=, MINUTES=, FAULTS=)'
	@echo 'make chaos-long SEEDS=20: seed after seed, and their sums'
	@echo 'make mutants    deliberate bugs, each of which has to be found by it'
	@echo 'make fuzz       each harness for FUZZ_S=$(FUZZ_S) seconds (ONLY="wire_scan road_map")'
	@echo 'make deps       install what is missing (root), or print the line that does'
	@echo 'make lint       rules of the house (TIDY=1: with clang-tidy)'
	@echo 'make fmt fmt-check compile_commands.json install uninstall clean'
	@echo 'Options: V=1 commands shown, CI=true warnings are errors, B=folder, PREFIX=, DESTDIR='

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
