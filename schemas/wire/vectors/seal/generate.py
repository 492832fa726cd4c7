#!/usr/bin/env python3
"""Writes the golden sealed payloads next to this file. Also a second implementation of the format in
schemas/wire/README.md, "Sealed payloads", for those who write a client in another language.

The cipher is written out here from RFC 8439 and draft-irtf-cfrg-xchacha-03, so that it is not our
library that says what our library should do; it first proves itself on the draft's own example. Run
it after a change of the format and read the difference:

    python3 schemas/wire/vectors/seal/generate.py
"""
import hashlib
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent
EXT, VERSION = 83, 1

# ---- XChaCha20-Poly1305 ---------------------------------------------------------------------


def rotate(v, n):
    return (v << n | v >> (32 - n)) & 0xffffffff


def rounds(state):
    s = list(state)

    def quarter(a, b, c, d):
        for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xffffffff
            s[z] = rotate(s[z] ^ s[x], n)

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return s


def start(key, rest):
    return list(struct.unpack("<12I", b"expand 32-byte k" + key)) + list(rest)


def stream(key, nonce12, counter, n):
    out = b""
    while len(out) < n:
        state = start(key, struct.unpack("<4I", struct.pack("<I", counter) + nonce12))
        mixed = rounds(state)
        out += struct.pack("<16I", *((a + b) & 0xffffffff for a, b in zip(state, mixed)))
        counter += 1
    return out[:n]


def hchacha20(key, nonce16):
    s = rounds(start(key, struct.unpack("<4I", nonce16)))
    return struct.pack("<8I", *s[0:4], *s[12:16])


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0ffffffc0ffffffc0ffffffc0fffffff
    total = 0
    for i in range(0, len(message), 16):
        total += int.from_bytes(message[i:i + 16] + b"\1", "little")
        total = total * r % (2 ** 130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2 ** 128).to_bytes(16, "little")


def padded(b):
    return b + bytes(-len(b) % 16)


def encrypt(key, nonce24, bound, plain):
    key, nonce12 = hchacha20(key, nonce24[:16]), bytes(4) + nonce24[16:]
    cipher = bytes(a ^ b for a, b in zip(plain, stream(key, nonce12, 1, len(plain))))
    tag = poly1305(stream(key, nonce12, 0, 32), padded(bound) + padded(cipher) +
                   struct.pack("<QQ", len(bound), len(cipher)))
    return cipher + tag


EXAMPLE = encrypt(  # A.3.1 of the draft
    bytes(range(0x80, 0xa0)), bytes(range(0x40, 0x58)),
    bytes.fromhex("50515253c0c1c2c3c4c5c6c7"),
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
    b"future, sunscreen would be it.")
assert EXAMPLE.hex() == (
    "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda"
    "7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b23835"
    "65d3fff921f9664c97637da9768812f615c68b13b52e" "c0875924c1c7987947deafd8780acf49")

# ---- the format -------------------------------------------------------------------------------


def derive(secret, number, n):
    return hashlib.blake2b(b"", digest_size=n, key=secret, salt=struct.pack("<QQ", number, 0),
                           person=b"mrseal01" + bytes(8)).digest()


def key_id(secret):
    return derive(secret, 3, 16)[:8]


def seal(secret, job_id, kind, plain):
    bound = bytes([VERSION]) + key_id(secret) + job_id + bytes([len(kind)]) + kind.encode()
    nonce = hashlib.blake2b(bound + plain, digest_size=24, key=derive(secret, 2, 32)).digest()
    body = (bytes([VERSION]) + key_id(secret) + nonce +
            encrypt(derive(secret, 1, 32), nonce, bound, plain))
    n = len(body)
    head = (struct.pack(">BB", 0xc7, n) if n < 256 else struct.pack(">BH", 0xc8, n) if n < 65536
            else struct.pack(">BI", 0xc9, n))
    return head + bytes([EXT]) + body


SECRET = bytes(range(32))
OTHER = bytes.fromhex("5eed" * 16)
ID = bytes.fromhex("017f22e279b07cc398c4dc0c0c07398f")  # the example of RFC 9562, A.6

CASES = [
    ("no arguments", SECRET, ID, "test.noop", b""),
    ("nil", SECRET, ID, "test.noop", b"\xc0"),
    ("a map", SECRET, ID, "pay.charge", bytes.fromhex("82a269640ba563656e7473cd0fa0")),
    ("the same under another kind", SECRET, ID, "pay.refund",
     bytes.fromhex("82a269640ba563656e7473cd0fa0")),
    ("another key", OTHER, ID, "pay.charge", bytes.fromhex("82a269640ba563656e7473cd0fa0")),
    ("a kind of one byte", SECRET, ID, "k", b"\x01"),
    ("a kind of 64 bytes", SECRET, ID, "k" * 64, b"\x01"),
    ("the longest of ext 8", SECRET, ID, "test.echo", b"\xc4\xcc" + b"x" * 204),
    ("the shortest of ext 16", SECRET, ID, "test.echo", b"\xc4\xcd" + b"x" * 205),
    ("several blocks of the cipher", SECRET, ID, "test.echo", b"\xc5\x03\xe8" + bytes(1000)),
]


def main():
    lines = ["# Sealed payloads. Written by generate.py; do not edit."]
    for title, secret, job_id, kind, plain in CASES:
        lines += ["", "# " + title, "secret  " + secret.hex(), "key     " + key_id(secret).hex(),
                  "id      " + job_id.hex(), "kind    " + kind, "plain   " + plain.hex(),
                  "in      " + seal(secret, job_id, kind, plain).hex()]
    (HERE / "sealed.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
