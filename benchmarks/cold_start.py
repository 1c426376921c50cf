"""Runs commands from a process that is itself small, and prints how long each took and how much memory it held at most.

A script of its own, started by photo_path.py: Linux counts the memory of the process that forks towards the child's
peak, so that a child of a large process seems large. Standard input: a JSON list of commands. Standard output: for each
a list of seconds, from its start until it prints (or ends, where it prints nothing), and the peak of its resident
memory in MB.
"""

import json
import os
import sys
import time


def run(command: list[str]) -> list[float]:
    """[seconds, MB] of one run; exits where it fails."""
    if sys.platform == "win32":
        sys.exit("cold starts are measured with posix_spawn, which Windows lacks")
    read, write = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
    begin = time.perf_counter()
    process = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    os.close(write)
    with open(read, "rb", buffering=0) as output:
        output.read(1)
        seconds = time.perf_counter() - begin
        while output.read(1 << 16):
            pass
    _, status, usage = os.wait4(process, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return [seconds, usage.ru_maxrss / 1024]


if __name__ == "__main__":
    print(json.dumps([run(command) for command in json.load(sys.stdin)]))
