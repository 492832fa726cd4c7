#!/usr/bin/env python3
"""Writes the golden messages next to this file; the fuzzers start from them, too.

The bytes come from python3-msgpack, never from our own encoder, so that the two check each
other. Run it after a change of the protocol and read the difference:

    python3 schemas/wire/vectors/generate.py
"""
import pathlib
import struct

import msgpack

HERE = pathlib.Path(__file__).resolve().parent

VERBS = ("HELLO WELCOME PING BYE ERROR SUBMIT ACK WATCH EVENT CREDIT JOBS DONE BEAT REVOKE "
         "CALL REPLY").split()
ID = bytes.fromhex("017f22e279b07cc398c4dc0c0c07398f")  # the example of RFC 9562, A.6
ID2 = bytes.fromhex("0193a1b2c3d47e5f8123456789abcdef")
BROKER = bytes.fromhex("0193a1b2c3d4700080000000000000ff")
NOW_US = 1_764_000_000_000_000

good, bad = {}, {}


class Raw(bytes):
    """Bytes that are msgpack already."""


def pack(value):
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        return msgpack.Packer().pack_array_header(len(value)) + b"".join(map(pack, value))
    return msgpack.packb(value, use_bin_type=True)


def wide(items):
    """A list whose count was written last: always array 32."""
    return Raw(b"\xdd" + struct.pack(">I", len(items)) + b"".join(map(pack, items)))


def message(verb, corr, *body):
    return pack([VERBS.index(verb), corr, *body])


def accept(verb, title, frame, says, out=None):
    """`says`: the fields as the test prints them. `out`: what we would write instead."""
    good.setdefault(verb, []).append((title, frame, says, out))


def refuse(name, title, frame, status="MALFORMED"):
    bad.setdefault(name, []).append((title, frame, status))


# ---- HELLO ----------------------------------------------------------------------------------

def hello(**changes):
    fields = {"proto_min": 1, "proto_max": 1, "role": 1, "instance": ID, "name": "web1:4711",
              "threads": 0, "kinds": []}
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not None}


OFFER = {"kind": "route.plan", "running_max": 2, "timeout_ms": 30000, "attempts_max": 5,
         "backoff_base_ms": 500, "backoff_cap_ms": 60000, "backoff_factor_percent": 150,
         "backoff_jitter_percent": 0, "is_transactional": True}
CLIENT = f'HELLO corr=1 proto=1-1 role=1 instance={ID.hex()} name="web1:4711" threads=0'
OFFERS = (" kind=route.plan running_max=2 timeout_ms=30000 attempts_max=5 backoff=500-60000"
          " factor=150 jitter=0 tx=1")
accept("HELLO", "a client", message("HELLO", 1, hello()), CLIENT)
accept("HELLO", "a worker with two kinds",
       message("HELLO", 1, hello(role=2, threads=4, kinds=[OFFER, {
           "kind": "test.noop", "running_max": 0, "timeout_ms": 0, "attempts_max": 0,
           "backoff_base_ms": 0, "backoff_cap_ms": 0, "backoff_factor_percent": 0,
           "backoff_jitter_percent": None, "is_transactional": False}])),
       CLIENT.replace("role=1", "role=2").replace("threads=0", "threads=4") + OFFERS +
       " kind=test.noop running_max=0 timeout_ms=0 attempts_max=0 backoff=0-0 factor=0 jitter=- tx=0")
accept("HELLO", "the least that is enough; another order; a later version's key and field",
       message("HELLO", 0, {"role": 1, "x-later": [1, {"a": None}], "proto_max": 3,
                            "proto_min": 1}, "later"),
       f'HELLO corr=0 proto=1-3 role=1 instance={"00" * 16} name="" threads=0',
       message("HELLO", 0, hello(proto_max=3, instance=bytes(16), name="")))
refuse("HELLO", "no body", message("HELLO", 1))
refuse("HELLO", "the body is a list", message("HELLO", 1, [1, 1]))
refuse("HELLO", "no role", message("HELLO", 1, hello(role=None)))
refuse("HELLO", "role 3", message("HELLO", 1, hello(role=3)))
refuse("HELLO", "no version", message("HELLO", 1, hello(proto_min=None, proto_max=None)))
refuse("HELLO", "a range of versions that is upside down",
       message("HELLO", 1, hello(proto_min=2)))
refuse("HELLO", "an instance of 15 bytes", message("HELLO", 1, hello(instance=ID[:15])))
refuse("HELLO", "an instance that is text",
       message("HELLO", 1, hello(instance="0123456789abcdef")))
refuse("HELLO", "threads is negative", message("HELLO", 1, hello(threads=-1)))
refuse("HELLO", "threads has more than 32 bits", message("HELLO", 1, hello(threads=1 << 32)))
refuse("HELLO", "a name of 65 bytes", message("HELLO", 1, hello(name="n" * 65)), "TOO_BIG")
refuse("HELLO", "a key that is a number", message("HELLO", 1, {1: 1}))
refuse("HELLO", "257 kinds",
       message("HELLO", 1, hello(kinds=[{"kind": "a"}] * 257)), "TOO_BIG")
refuse("HELLO", "33 keys", message("HELLO", 1, {f"k{i}": 0 for i in range(33)}), "TOO_BIG")
refuse("HELLO", "a kind without a name",
       message("HELLO", 1, hello(role=2, kinds=[{"running_max": 1}])))
refuse("HELLO", "a kind with a blank in its name",
       message("HELLO", 1, hello(role=2, kinds=[{"kind": "a b"}])))
refuse("HELLO", "a factor below 100 percent",
       message("HELLO", 1, hello(role=2, kinds=[{"kind": "a", "backoff_factor_percent": 99}])))
refuse("HELLO", "a jitter above 100 percent",
       message("HELLO", 1, hello(role=2, kinds=[{"kind": "a", "backoff_jitter_percent": 101}])))
refuse("HELLO", "a kind that is no map", message("HELLO", 1, hello(role=2, kinds=["a"])))

# ---- WELCOME --------------------------------------------------------------------------------

WELCOME = {"proto": 1, "session": 0xFEDCBA9876543210, "instance": BROKER, "shard": 0,
           "epoch": 7, "heartbeat_ms": 1000, "payload_bytes_max": 1048576,
           "result_bytes_max": 1048576, "message_bytes_max": 4194304,
           "jobs_per_message_max": 4096, "window_jobs": 100000, "wall_us": NOW_US}
accept("WELCOME", "as the broker writes it", message("WELCOME", 1, WELCOME),
       f"WELCOME corr=1 proto=1 session={0xFEDCBA9876543210} instance={BROKER.hex()} shard=0"
       " epoch=7 heartbeat_ms=1000 payload=1048576 result=1048576 message=4194304 jobs=4096"
       f" window=100000 wall_us={NOW_US}")
refuse("WELCOME", "no body", message("WELCOME", 1))
refuse("WELCOME", "session is negative", message("WELCOME", 1, {**WELCOME, "session": -1}))
refuse("WELCOME", "wall_us has 64 bits", message("WELCOME", 1, {"wall_us": 1 << 63}))
refuse("WELCOME", "a float", message("WELCOME", 1, {"proto": 1.0}))

# ---- PING, BYE, ERROR -----------------------------------------------------------------------

accept("PING", "wants one back", message("PING", 3, True), "PING corr=3 ask=1")
accept("PING", "the answer", message("PING", 3, False), "PING corr=3 ask=0")
accept("PING", "nothing said: no answer wanted", message("PING", 0), "PING corr=0 ask=0",
       message("PING", 0, False))
refuse("PING", "1 is not true", message("PING", 0, 1))
accept("BYE", "with a reason", message("BYE", 9, "stopped by SIGTERM"),
       'BYE corr=9 reason="stopped by SIGTERM" flags=0')
accept("BYE", "a worker is to drain", message("BYE", 0, "drained", 1),
       'BYE corr=0 reason="drained" flags=1')
accept("BYE", "no flag that is set", message("BYE", 0, "drained", 0),
       'BYE corr=0 reason="drained" flags=0', message("BYE", 0, "drained"))
accept("BYE", "without", message("BYE", 9), 'BYE corr=9 reason="" flags=0', message("BYE", 9, ""))
refuse("BYE", "a reason that is no text", message("BYE", 9, b"bin"))
refuse("BYE", "flags that are true", message("BYE", 9, "drained", True))
refuse("BYE", "a reason of 2,001 bytes", message("BYE", 9, "r" * 2001), "TOO_BIG")
accept("ERROR", "try again", message("ERROR", 12, 101, "the broker is full", 250),
       'ERROR corr=12 code=101 text="the broker is full" retry_after_ms=250')
accept("ERROR", "no more than the code", message("ERROR", 0, 501),
       'ERROR corr=0 code=501 text="" retry_after_ms=0', message("ERROR", 0, 501, "", 0))
accept("ERROR", "a number of a later version counts as INTERNAL",
       message("ERROR", 0, 399, "later", 0), 'ERROR corr=0 code=900 text="later" retry_after_ms=0',
       message("ERROR", 0, 900, "later", 0))
refuse("ERROR", "no code", message("ERROR", 0))
refuse("ERROR", "a code that is text", message("ERROR", 0, "BUSY"))
refuse("ERROR", "a code above 16 bits", message("ERROR", 0, 65536))

# ---- SUBMIT ---------------------------------------------------------------------------------

NIL = msgpack.packb(None)
ARGS = msgpack.packb({"ms": 5})
PLAIN = (f"id={ID.hex()} kind=test.noop payload=c0 priority=4 lane= run_at=0 delay=0 expires=0"
         " timeout=0 attempts=0 backoff=0-0 factor=0 jitter=- trace=")
FULL = {1: "rider-17", 2: 9, 3: 1500, 4: NOW_US, 5: NOW_US + 1, 6: 30000, 7: 1000, 8: 100,
        9: 60000, 11: 1000, 12: 100,
        10: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", 13: ID}
FULL_SAYS = (f"id={ID2.hex()} kind=test.sleep payload={ARGS.hex()} priority=9 lane=rider-17"
             f" run_at={NOW_US} delay=1500 expires={NOW_US + 1} timeout=30000 attempts=1000"
             f" backoff=100-60000 factor=1000 jitter=100 trace={FULL[10]}"
             f" redrive_of={ID.hex()}")
SUBMIT = "SUBMIT corr=5 queue=default flags=1 "


def submit(jobs, *more, queue="default", flags=1):
    return message("SUBMIT", 5, queue, flags, jobs, *more)


accept("SUBMIT", "one job without options, watched", submit(wide([[ID, "test.noop", NIL, None]])),
       SUBMIT + PLAIN)
accept("SUBMIT", "two jobs, the second one with each option",
       submit(wide([[ID, "test.noop", NIL, None], [ID2, "test.sleep", ARGS, FULL]])),
       SUBMIT + PLAIN + " " + FULL_SAYS)
accept("SUBMIT", "no job at all", submit(wide([])), SUBMIT.rstrip())
accept("SUBMIT", "a short list, options left out, an empty payload",
       submit([[ID, "test.noop", b""]]), SUBMIT + PLAIN.replace("payload=c0", "payload="),
       submit(wide([[ID, "test.noop", b"", None]])))
accept("SUBMIT", "defaults of the message, one of them overruled by the job",
       submit([[ID, "test.noop", NIL, {2: 7}], [ID2, "test.noop", NIL]], {2: 1, 6: 99}),
       SUBMIT + PLAIN.replace("priority=4", "priority=7").replace("timeout=0", "timeout=99") + " " +
       PLAIN.replace(ID.hex(), ID2.hex()).replace("priority=4", "priority=1")
       .replace("timeout=0", "timeout=99"),
       submit(wide([[ID, "test.noop", NIL, {2: 7, 6: 99}],
                    [ID2, "test.noop", NIL, {2: 1, 6: 99}]])))
accept("SUBMIT", "no jitter is something else than none said; the least factor",
       submit(wide([[ID, "test.noop", NIL, {11: 100, 12: 0}]])),
       SUBMIT + PLAIN.replace("factor=0 jitter=-", "factor=100 jitter=0"))
accept("SUBMIT", "no jitter as the message's default, factor 0 as if it were left out",
       submit([[ID, "test.noop", NIL, {11: 0}], [ID2, "test.noop", NIL, {12: 7}]], {12: 0}),
       SUBMIT + PLAIN.replace("jitter=-", "jitter=0") + " " +
       PLAIN.replace(ID.hex(), ID2.hex()).replace("jitter=-", "jitter=7"),
       submit(wide([[ID, "test.noop", NIL, {12: 0}], [ID2, "test.noop", NIL, {12: 7}]])))
accept("SUBMIT", "an option and a field of a later version; the flag of a repeat",
       submit([[ID, "test.noop", NIL, {77: {"later": [1]}}, "later"]], flags=3),
       SUBMIT.replace("flags=1", "flags=3") + PLAIN,
       submit(wide([[ID, "test.noop", NIL, None]]), flags=3))
accept("SUBMIT", "names of 64 characters, the lowest priority",
       submit(wide([[ID, "k" * 64, NIL, {2: 0}]]), queue="q" * 64),
       SUBMIT.replace("default", "q" * 64) +
       PLAIN.replace("test.noop", "k" * 64).replace("priority=4", "priority=0"))
refuse("SUBMIT", "no jobs field", message("SUBMIT", 5, "default", 0))
refuse("SUBMIT", "no queue", submit([], queue=None))
refuse("SUBMIT", "an empty queue", submit([], queue=""))
refuse("SUBMIT", "a queue with a blank", submit([], queue="a b"))
refuse("SUBMIT", "a queue with a tab", submit([], queue="a\tb"))
refuse("SUBMIT", "a queue that is not ASCII", submit([], queue="stra\u00dfe"))
refuse("SUBMIT", "a queue of 65 bytes", submit([], queue="q" * 65), "TOO_BIG")
refuse("SUBMIT", "flags negative", submit([], flags=-1))
refuse("SUBMIT", "jobs are a map", submit({}))
refuse("SUBMIT", "a job that is no list", submit([ID]))
refuse("SUBMIT", "a job without a payload", submit([[ID, "test.noop"]]))
refuse("SUBMIT", "an id of 15 bytes", submit([[ID[:15], "test.noop", NIL]]))
refuse("SUBMIT", "an id of 17 bytes", submit([[ID + b"x", "test.noop", NIL]]))
refuse("SUBMIT", "an id that is text",
       submit([["017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "test.noop", NIL]]))
refuse("SUBMIT", "an empty kind", submit([[ID, "", NIL]]))
refuse("SUBMIT", "a kind with a delete character", submit([[ID, "a\x7f", NIL]]))
refuse("SUBMIT", "a kind of 65 bytes", submit([[ID, "k" * 65, NIL]]), "TOO_BIG")
refuse("SUBMIT", "a payload that is text", submit([[ID, "test.noop", "nil"]]))
refuse("SUBMIT", "options are a list", submit([[ID, "test.noop", NIL, [2, 7]]]))
refuse("SUBMIT", "an option whose key is text", submit([[ID, "test.noop", NIL, {"lane": "a"}]]))
refuse("SUBMIT", "priority 10", submit([[ID, "test.noop", NIL, {2: 10}]]))
refuse("SUBMIT", "priority -1", submit([[ID, "test.noop", NIL, {2: -1}]]))
refuse("SUBMIT", "1,001 attempts", submit([[ID, "test.noop", NIL, {7: 1001}]]))
refuse("SUBMIT", "a factor of 99 percent", submit([[ID, "test.noop", NIL, {11: 99}]]))
refuse("SUBMIT", "a factor of 1,001 percent", submit([[ID, "test.noop", NIL, {11: 1001}]]))
refuse("SUBMIT", "a redriven job's id of 15 bytes",
       submit([[ID, "test.noop", NIL, {13: ID[1:]}]]))
refuse("SUBMIT", "a redriven job's id that is text",
       submit([[ID, "test.noop", NIL, {13: "0198c0de-0000-7000-8000-000000000001"}]]))
refuse("SUBMIT", "a jitter of 101 percent", submit([[ID, "test.noop", NIL, {12: 101}]]))
refuse("SUBMIT", "a jitter that is nil", submit([[ID, "test.noop", NIL, {12: None}]]))
refuse("SUBMIT", "run_at before 1970", submit([[ID, "test.noop", NIL, {4: -1}]]))
refuse("SUBMIT", "delay of more than 32 bits", submit([[ID, "test.noop", NIL, {3: 1 << 32}]]))
refuse("SUBMIT", "a lane with a blank", submit([[ID, "test.noop", NIL, {1: "a b"}]]))
refuse("SUBMIT", "a trace of 129 bytes", submit([[ID, "test.noop", NIL, {10: "t" * 129}]]),
       "TOO_BIG")
refuse("SUBMIT", "bad defaults", submit([[ID, "test.noop", NIL]], {2: 10}))
refuse("SUBMIT", "the second job is bad", submit([[ID, "test.noop", NIL], [ID2]]))

# ---- ACK ------------------------------------------------------------------------------------

accept("ACK", "all of 500 are durable", message("ACK", 5, 500, [], 0),
       "ACK corr=5 count=500 retry_after_ms=0")
accept("ACK", "two of three were not simply stored",
       message("ACK", 5, 3, [[0, 402, "another body"], [2, 101, ""]], 250),
       'ACK corr=5 count=3 retry_after_ms=250 index=0 code=402 text="another body"'
       ' index=2 code=101 text=""')
accept("ACK", "no more than the count", message("ACK", 5, 1), "ACK corr=5 count=1 retry_after_ms=0",
       message("ACK", 5, 1, [], 0))
accept("ACK", "a verdict without text, one with more than we know",
       message("ACK", 5, 2, [[0, 401], [1, 403, "", "later"]]),
       'ACK corr=5 count=2 retry_after_ms=0 index=0 code=401 text="" index=1 code=403 text=""',
       message("ACK", 5, 2, [[0, 401, ""], [1, 403, ""]], 0))
refuse("ACK", "no count", message("ACK", 5))
refuse("ACK", "a count above 4,096", message("ACK", 5, 4097))
refuse("ACK", "the verdict on an item that was not there", message("ACK", 5, 1, [[1, 401, ""]]))
refuse("ACK", "a verdict without a code", message("ACK", 5, 1, [[0]]))
refuse("ACK", "verdicts are a map", message("ACK", 5, 1, {0: 401}))

# ---- WATCH and EVENT ------------------------------------------------------------------------

accept("WATCH", "two ids", message("WATCH", 0, [ID, ID2], True),
       f"WATCH corr=0 on=1 id={ID.hex()} id={ID2.hex()}")
accept("WATCH", "no longer", message("WATCH", 0, [ID], False), f"WATCH corr=0 on=0 id={ID.hex()}")
accept("WATCH", "without the flag it is on", message("WATCH", 4, [ID]),
       f"WATCH corr=4 on=1 id={ID.hex()}", message("WATCH", 4, [ID], True))
refuse("WATCH", "one id without a list", message("WATCH", 0, ID))
refuse("WATCH", "an empty id", message("WATCH", 0, [b""]))
refuse("WATCH", "a flag that is a number", message("WATCH", 0, [ID], 0))
refuse("WATCH", "4,097 ids", message("WATCH", 0, Raw(pack([None] * 4097))), "TOO_BIG")


def event(kind, a=0, text="", body=b"", attempt=1, at=NOW_US):
    return [ID, kind, attempt, a, text, body, at]


def event_says(kind, permille=0, outcome=0, text="", body=b"", attempt=1):
    return (f' id={ID.hex()} type={kind} attempt={attempt} permille={permille} outcome={outcome}'
            f' text="{text}" body={body.hex()} at={NOW_US}')


accept("EVENT", "progress, then the end",
       message("EVENT", 0, wide([event(1, 250, "page 1 of 4"), event(3, 1, "", b"\x81\xa1a\x01")])),
       "EVENT corr=0" + event_says(1, permille=250, text="page 1 of 4") +
       event_says(3, outcome=1, body=b"\x81\xa1a\x01"))
accept("EVENT", "each of the other types and outcomes",
       message("EVENT", 0, wide([event(2, text="no route"), event(3, 2, "no route"), event(3, 3),
                                 event(3, 4), event(4, attempt=0), event(5, 1000)])),
       "EVENT corr=0" + event_says(2, text="no route") +
       event_says(3, outcome=2, text="no route") + event_says(3, outcome=3) +
       event_says(3, outcome=4) + event_says(4, attempt=0) + event_says(5, permille=1000))
accept("EVENT", "a short list and a later field", message("EVENT", 0, [event(5) + [True]]),
       "EVENT corr=0" + event_says(5), message("EVENT", 0, wide([event(5)])))
refuse("EVENT", "no list", message("EVENT", 0))
refuse("EVENT", "type 0", message("EVENT", 0, [event(0)]))
refuse("EVENT", "type 6", message("EVENT", 0, [event(6)]))
refuse("EVENT", "permille 1,001", message("EVENT", 0, [event(1, 1001)]))
refuse("EVENT", "finished, but outcome 0", message("EVENT", 0, [event(3, 0)]))
refuse("EVENT", "outcome 5", message("EVENT", 0, [event(3, 5)]))
refuse("EVENT", "six fields", message("EVENT", 0, [event(5)[:6]]))
refuse("EVENT", "time before 1970", message("EVENT", 0, [event(5, at=-1)]))
refuse("EVENT", "text of 2,001 bytes", message("EVENT", 0, [event(2, text="t" * 2001)]),
       "TOO_BIG")

# ---- CREDIT, JOBS ---------------------------------------------------------------------------

accept("CREDIT", "eight", message("CREDIT", 0, 8), "CREDIT corr=0 limit=8")
accept("CREDIT", "the largest number", message("CREDIT", 0, 2 ** 64 - 1),
       f"CREDIT corr=0 limit={2 ** 64 - 1}")
refuse("CREDIT", "nothing", message("CREDIT", 0))
refuse("CREDIT", "negative", message("CREDIT", 0, -1))

JOB = [ID, 1, "route.plan", ARGS, 30000, "default", "", NOW_US]
accept("JOBS", "two", message("JOBS", 0, wide([JOB, [ID2, 3, "test.noop", b"", 0, "q", "t", 0]])),
       f"JOBS corr=0 id={ID.hex()} attempt=1 kind=route.plan payload={ARGS.hex()} timeout=30000"
       f" queue=default trace= submitted={NOW_US} id={ID2.hex()} attempt=3 kind=test.noop payload="
       " timeout=0 queue=q trace=t submitted=0")
refuse("JOBS", "no list", message("JOBS", 0))
refuse("JOBS", "seven fields", message("JOBS", 0, [JOB[:7]]))
refuse("JOBS", "a kind that is empty", message("JOBS", 0, [JOB[:2] + [""] + JOB[3:]]))
refuse("JOBS", "32 fields", message("JOBS", 0, [JOB + [None] * 24]), "TOO_BIG")

# ---- DONE -----------------------------------------------------------------------------------


def done(report, text="", body=b"", retry=0, outcome=0):
    return [ID, 2, report, text, body, NOW_US, NOW_US + 5000, retry, outcome]


def done_says(report, text="", body=b"", retry=0, outcome=0):
    return (f' id={ID.hex()} attempt=2 report={report} text="{text}" body={body.hex()}'
            f' started={NOW_US} finished={NOW_US + 5000} retry={retry} outcome={outcome}')


ENDS = [(1, "", b"\x01"), (2, "no route", b"", 100), (3, "bad edge"), (4, "", b"", 500), (5,),
        (6,), (7, "after 30 s"), (8, "", b"\xc0", 0, 1), (9, "ended by signal 11")]
accept("DONE", "one success", message("DONE", 7, 0, wide([done(1)])),
       "DONE corr=7 flags=0" + done_says(1))
accept("DONE", "every report, and the doorbell", message("DONE", 7, 1, wide([done(*end) for end in ENDS])),
       "DONE corr=7 flags=1" + "".join(done_says(*end) for end in ENDS))
refuse("DONE", "no list", message("DONE", 7, 0))
refuse("DONE", "report 0", message("DONE", 7, 0, [done(0)]))
refuse("DONE", "report 10", message("DONE", 7, 0, [done(10)]))
refuse("DONE", "crashed, but with an outcome", message("DONE", 7, 0, [done(9, outcome=1)]))
refuse("DONE", "was finished, but outcome 0", message("DONE", 7, 0, [done(8)]))
refuse("DONE", "success with an outcome", message("DONE", 7, 0, [done(1, outcome=1)]))
refuse("DONE", "outcome 5", message("DONE", 7, 0, [done(8, outcome=5)]))
refuse("DONE", "eight fields", message("DONE", 7, 0, [done(1)[:8]]))
refuse("DONE", "a body that is text", message("DONE", 7, 0, [done(1, body="x")]))

# ---- BEAT, REVOKE ---------------------------------------------------------------------------

accept("BEAT", "two attempts", message("BEAT", 0, wide([[ID, 1, 500, "half"], [ID2, 2, 0, ""]])),
       f'BEAT corr=0 id={ID.hex()} attempt=1 permille=500 text="half" id={ID2.hex()} attempt=2'
       ' permille=0 text=""')
accept("BEAT", "holds nothing", message("BEAT", 0, wide([])), "BEAT corr=0")
refuse("BEAT", "permille 1,001", message("BEAT", 0, [[ID, 1, 1001, ""]]))
refuse("BEAT", "three fields", message("BEAT", 0, [[ID, 1, 0]]))
accept("REVOKE", "for each reason",
       message("REVOKE", 0, wide([[ID, 1, 1], [ID, 2, 2], [ID2, 1, 3]])),
       f"REVOKE corr=0 id={ID.hex()} attempt=1 why=1 id={ID.hex()} attempt=2 why=2"
       f" id={ID2.hex()} attempt=1 why=3")
refuse("REVOKE", "reason 0", message("REVOKE", 0, [[ID, 1, 0]]))
refuse("REVOKE", "reason 4", message("REVOKE", 0, [[ID, 1, 4]]))
refuse("REVOKE", "an attempt above 32 bits", message("REVOKE", 0, [[ID, 1 << 32, 1]]))

# ---- CALL, REPLY ----------------------------------------------------------------------------

SHOW = {"id": ID}
accept("CALL", "show", message("CALL", 21, "show", SHOW),
       f"CALL corr=21 method=show args={pack(SHOW).hex()}")
accept("CALL", "no arguments", message("CALL", 22, "stats", {}), "CALL corr=22 method=stats args=80")
refuse("CALL", "no arguments, not even an empty map", message("CALL", 22, "stats"))
refuse("CALL", "arguments are a list", message("CALL", 22, "stats", []))
refuse("CALL", "33 arguments", message("CALL", 22, "stats", {i: 0 for i in range(33)}), "TOO_BIG")
refuse("CALL", "a method that is a number", message("CALL", 22, 1, {}))
accept("REPLY", "a result", message("REPLY", 22, 0, "", {"jobs": 17}),
       f'REPLY corr=22 code=0 text="" result={pack({"jobs": 17}).hex()}')
accept("REPLY", "a refusal", message("REPLY", 21, 407, "there is no such job", None),
       'REPLY corr=21 code=407 text="there is no such job" result=c0')
refuse("REPLY", "no result", message("REPLY", 21, 0, ""))
refuse("REPLY", "a code that is negative", message("REPLY", 21, -1, "", None))

# ---- frames that are no message of ours -----------------------------------------------------

refuse("frame", "no byte at all", b"")
refuse("frame", "nil", pack(None))
refuse("frame", "a map", pack({2: 0}))
refuse("frame", "an empty list", pack([]))
refuse("frame", "a verb and nothing else", pack([2]))
refuse("frame", "verb 16", pack([16, 0]))
refuse("frame", "a verb that is negative", pack([-1, 0]))
refuse("frame", "a verb that is text", pack(["PING", 0]))
refuse("frame", "corr is negative", pack([2, -1]))
refuse("frame", "corr is nil", pack([2, None]))
refuse("frame", "16 fields", pack([2, 0] + [None] * 14))
refuse("frame", "cut short", message("PING", 3, True)[:-1])
refuse("frame", "a byte too many", message("PING", 3, True) + b"\x00")
refuse("frame", "a list that promises 4,294,967,295 items", b"\xdd\xff\xff\xff\xff\x02\x00")
refuse("frame", "a bin that promises 4 GiB", pack([3, 0])[:1] + b"\x03\x00\xc6\xff\xff\xff\xff")
refuse("frame", "an ext type", pack([2, 0, msgpack.ExtType(5, b"x")]))
refuse("frame", "a timestamp", pack([2, 0, msgpack.Timestamp(1)]))
refuse("frame", "the byte that is never used", b"\x93\x02\x00\xc1")
refuse("frame", "text that is not UTF-8", b"\x93\x03\x00\xa2\xc3\x28")
refuse("frame", "an HTTP request", b"GET / HTTP/1.1\r\n\r\n")
deep = [0]
for _ in range(7):
    deep = [deep]
refuse("frame", "nine levels", message("CALL", 1, "stats", deep), "TOO_BIG")


def write(name, heading, blocks):
    lines = [f"# {heading} Written by generate.py; do not edit."]
    for title, *rows in blocks:
        lines += ["", f"# {title}"] + [f"{key:<8}{value}".rstrip() for key, value in rows]
    (HERE / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    for verb, cases in good.items():
        write(f"{verb.lower()}_good.txt", f"{verb}: accepted.",
              [(title, ("in", frame.hex()), ("says", says), *([("out", out.hex())] if out else []))
               for title, frame, says, out in cases])
    for name, cases in bad.items():
        what = "Not a message" if name == "frame" else name
        write(f"{name.lower()}_bad.txt", f"{what}: refused.",
              [(title, ("in", frame.hex()), ("refused", status)) for title, frame, status in cases])
    print(sum(map(len, good.values())), "good,", sum(map(len, bad.values())), "bad")


main()
