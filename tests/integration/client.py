#!/usr/bin/env python3
"""A front end written from schemas/wire/README.md only: python3-zmq and python3-msgpack.

    client.py ENDPOINT [KIND [FAILING_KIND]] [--timeout SECONDS] [--key-file FILE --server-key FILE]

Submits one job of each kind, waits for the ACK and for both ends, asks again as somebody who
missed everything, and prints what it hears as JSON lines. Exit code 0: all was as the page
says; 1: it was not; 2: no answer in time.
"""
import argparse
import json
import os
import re
import sys
import time
import uuid

import msgpack
import zmq

HELLO, WELCOME, PING, BYE, ERROR, SUBMIT, ACK, WATCH, EVENT = range(9)
CALL, REPLY = 14, 15
FLAG_WATCH, FLAG_RESENT = 1, 2
OPTION_ATTEMPTS_MAX = 7
PROGRESS, RETRYING, FINISHED, NO_JOB, WAITING = range(1, 6)
EVENTS = ("?", "progress", "retrying", "finished", "no_job", "waiting")
OUTCOMES = ("?", "succeeded", "failed", "cancelled", "expired")


def new_id():
    """UUID version 7: 48 bits of milliseconds, then random bits."""
    raw = bytearray(int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10))
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    return bytes(raw)


def tell(what, **fields):
    print(json.dumps({"what": what, **fields}), flush=True)


def expect(condition, what):
    if not condition:
        tell("wrong", expected=what)
        sys.exit(1)


def keys_of(path):
    """Lines NAME = "40 characters" of a key file."""
    with open(path, encoding="ascii") as file:
        return dict(re.findall(r'^\s*([a-z-]+)\s*=\s*"([^"]{40})"\s*$', file.read(), re.M))


class Client:
    def __init__(self, endpoint, timeout, key_file=None, server_key=None):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDTIMEO, int(timeout * 1000))
        if key_file:
            own = keys_of(key_file)
            self.socket.curve_publickey = own["public-key"].encode()
            self.socket.curve_secretkey = own["secret-key"].encode()
            self.socket.curve_serverkey = keys_of(server_key)["public-key"].encode()
        self.socket.connect(endpoint)
        self.deadline = time.monotonic() + timeout
        self.corr = 0
        self.heartbeat_ms = 1000
        self.ends = {}  # id: the FINISHED or NO_JOB event

    def send(self, verb, *fields):
        self.corr += 1
        try:
            self.socket.send(msgpack.packb([verb, self.corr, *fields]))
        except zmq.Again:  # a broker that does not let us in
            tell("timeout")
            sys.exit(2)
        return self.corr

    def read(self):
        """The next message, with a PING whenever it is quiet for a heartbeat."""
        while not self.socket.poll(self.heartbeat_ms // 2):
            if time.monotonic() > self.deadline:
                tell("timeout")
                sys.exit(2)
            self.send(PING, True)
        verb, corr, *fields = msgpack.unpackb(self.socket.recv())
        if verb == EVENT:
            for job, kind, attempt, number, text, body, _ in fields[0]:
                event = {"type": EVENTS[kind], "attempt": attempt, "text": text}
                if kind == FINISHED:
                    event["outcome"] = OUTCOMES[number]
                    event["result"] = msgpack.unpackb(body) if body else None
                if kind in (FINISHED, NO_JOB):
                    self.ends[job] = event
                tell("event", id=str(uuid.UUID(bytes=job)), **event)
        return verb, corr, fields

    def ask(self, verb, *fields):
        """Send, and read on until the answer with the same number comes."""
        wanted = self.send(verb, *fields)
        while True:
            verb, corr, fields = self.read()
            if corr == wanted and verb != EVENT:
                return verb, fields

    def end_of(self, job):
        while job not in self.ends:
            self.read()
        return self.ends.pop(job)


def run(client, kind, failing):
    verb, fields = client.ask(PING, True)
    expect(verb == ERROR and fields[0] == 501, "ERROR 501 to who has not said HELLO")
    verb, fields = client.ask(HELLO, {"proto_min": 1, "proto_max": 1, "role": 1,
                                      "instance": os.urandom(16), "name": "client.py"})
    expect(verb == WELCOME and fields[0]["proto"] == 1, "WELCOME")
    client.heartbeat_ms = fields[0]["heartbeat_ms"]
    tell("welcome", heartbeat_ms=client.heartbeat_ms, window_jobs=fields[0]["window_jobs"])

    good, bad = new_id(), new_id()
    jobs = [[good, kind, msgpack.packb({})],
            [bad, failing, msgpack.packb({"for_good": True}), {OPTION_ATTEMPTS_MAX: 1}]]
    verb, fields = client.ask(SUBMIT, "default", FLAG_WATCH, jobs)
    tell("ack", verb=verb, fields=fields)
    expect(verb == ACK and fields[:2] == [2, []], "ACK of two jobs without a verdict")
    expect(client.end_of(good).get("outcome") == "succeeded", f"{kind} succeeds")
    expect(client.end_of(bad).get("outcome") == "failed", f"{failing} fails")

    verb, fields = client.ask(SUBMIT, "default", FLAG_RESENT,
                              [jobs[0], [bad, failing, msgpack.packb("another body")]])
    expect(verb == ACK and [v[:2] for v in fields[1]] == [[0, 403], [1, 402]],
           "FINISHED for the same job, CONFLICT for another one with its id")
    nobody = new_id()
    client.send(WATCH, [good, nobody])
    expect(client.end_of(good).get("outcome") == "succeeded", "the result once more")
    expect(client.end_of(nobody)["type"] == "no_job", "NO_JOB for an id of nobody")
    verb, fields = client.ask(CALL, "show", {"id": bad})
    expect(verb == REPLY and fields[0] == 0 and fields[2]["state"] == "failed", "show")
    verb, fields = client.ask(BYE, "done")
    expect(verb == ACK, "ACK of BYE")
    tell("done")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("endpoint")
    parser.add_argument("kind", nargs="?", default="test.noop")
    parser.add_argument("failing_kind", nargs="?", default="test.fail")
    parser.add_argument("--timeout", type=float, default=30)
    parser.add_argument("--key-file")
    parser.add_argument("--server-key")
    given = parser.parse_args()
    run(Client(given.endpoint, given.timeout, given.key_file, given.server_key), given.kind,
        given.failing_kind)
