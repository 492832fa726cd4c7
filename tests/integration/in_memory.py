#!/usr/bin/env python3
"""How often bytes stand in a process's memory: in_memory.py PID HEX. Root's, as the process may be
one that nobody else may look into."""
import sys

pid, wanted = sys.argv[1], bytes.fromhex(sys.argv[2])
found = 0
with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
    for line in maps:
        part = line.split()
        begin, end = (int(x, 16) for x in part[0].split("-"))
        if "r" not in part[1] or part[-1] in ("[vvar]", "[vsyscall]"):
            continue
        try:
            memory.seek(begin)
            found += memory.read(end - begin).count(wanted)
        except OSError:
            pass  # a hole, or memory of a device
print(found)
