#!/usr/bin/env python3
"""How often bytes stand in a process's memory: in_memory.py PID HEX. Root's, as the process may be
one that nobody else may look into."""
import sys

PIECE = 1 << 20
RESERVED = 1 << 34  # so large is only what a sanitizer keeps for itself, and nearly all of it is empty

pid, wanted = sys.argv[1], bytes.fromhex(sys.argv[2])
found = 0


def pieces(memory, begin, end):
    """Each overlaps the next one, so that nothing is cut in two, by too little to count twice."""
    tail = b""
    memory.seek(begin)
    while begin < end:
        piece = memory.read(min(PIECE, end - begin))
        if not piece:
            return
        begin += len(piece)
        yield tail + piece
        tail = (tail + piece)[-(len(wanted) - 1):]


with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
    for line in maps:
        part = line.split()
        begin, end = (int(x, 16) for x in part[0].split("-"))
        if "r" not in part[1] or part[-1] in ("[vvar]", "[vsyscall]"):
            continue
        if end - begin >= RESERVED:
            continue
        try:
            found += sum(piece.count(wanted) for piece in pieces(memory, begin, end))
        except OSError:
            pass  # a hole, or memory of a device
print(found)
