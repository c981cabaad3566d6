#!/usr/bin/env python3
"""One side of the comparison with keepalived: the same keepalived.conf, real servers that fail as scripted, and what enters and leaves the
table when.

    side.py conf DIR                    write DIR/side.conf and the scripts it names
    side.py servers DIR INTERFACE       play the real servers, on addresses added to INTERFACE; their log is DIR/asked
    side.py watch DIR SECONDS TABLE     note every change of the table; TABLE is /proc/net/ip_vs or a command that prints as `ipvsadm -Ln`
    side.py stop DIR                    note that whatever comes now comes of the stop
    side.py told DIR                    all of it as lines `NAME SECOND WHAT`, seconds since NAME's first check; at the stop: 99

What is told: `in WEIGHT` and `out` of a server, `notify_*` and `quorum_*` of the programs that were run.
"""

import re
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import cases

# Without programs of their own: starting one takes long in a guest.
NOTIFY = "#!/bin/sh\nread now _ </proc/uptime\necho $now $1 $2 >>@DIR@/notified\n"
MISC = "#!/bin/sh\nread now _ </proc/uptime\necho $now $1 asked >>@DIR@/asked\nread what <@DIR@/$1.mode\ncase $what in\nsleep) exec sleep 100 ;;\n*) exit ${what#exit} ;;\nesac\n"
SAMPLE = 0.02
AT_THE_STOP = 99


def write_conf(directory):
    for name, text in (("notify", NOTIFY), ("misc", MISC)):
        (directory / name).write_text(text.replace("@DIR@", str(directory)))
        (directory / name).chmod(0o755)
    for server in cases.SERVERS:
        if server.plays == "misc":
            (directory / f"{server.name}.mode").write_text("exit0\n")
    (directory / "side.conf").write_text(cases.conf(str(directory)))


def table(source):
    """Servers and their weights."""
    if source.startswith("/proc/"):
        rows = re.findall(r"-> ([0-9A-F]{8}):[0-9A-F]{4} +\w+ +(\d+)", Path(source).read_text())
        return {".".join(str(b) for b in bytes.fromhex(a)): int(w) for a, w in rows}
    # A daemon that does not run yet has no table.
    shown = subprocess.run(source.split(), capture_output=True, text=True, check=False).stdout
    rows = re.findall(r"-> ([\d.]+):\d+ +\w+ +(\d+)", shown)
    return {a: int(w) for a, w in rows}


def watch(directory, seconds, source):
    names = {server.address: server.name for server in cases.SERVERS}
    names |= {case.sorry: f"{case.name}_sorry" for case in cases.CASES if case.sorry}
    before, end = {}, cases.now() + seconds
    with open(directory / "changes", "a", buffering=1, encoding="ascii") as changes:
        while (now := cases.now()) < end:
            rows = table(source)
            for address in sorted(before.keys() | rows.keys()):
                if before.get(address) != rows.get(address):
                    what = f"in {rows[address]}" if address in rows else "out"
                    print(f"{now:.3f} {names[address]} {what}", file=changes)
            before = rows
            time.sleep(SAMPLE)


def told(directory):
    """What was noted, by case and moment. Of sorry servers and quorums the moments are those of the case's first server."""
    lines = {name: [line.split(None, 2) for line in (directory / name).read_text().splitlines()] for name in ("asked", "changes", "notified") if (directory / name).exists()}
    zero = {}
    for at, name, what in lines["asked"]:
        if what.strip() == "asked":
            zero.setdefault(name, float(at))
    for server in cases.SERVERS:
        if server.name not in zero:
            sys.exit(f"{server.name} was never asked")
    for case in cases.CASES:
        zero[f"{case.name}_sorry"] = zero[case.name] = zero[case.servers[0].name]
    found = defaultdict(list)
    stopped = float((directory / "stopped").read_text())
    for at, name, what in lines["changes"] + lines.get("notified", []):
        at = float(at)
        found[name].append((at - zero[name] if at < stopped else AT_THE_STOP, what.strip()))
    for name, moments in found.items():
        for at, what in sorted(moments):
            print(f"{name} {at:.2f} {what}")


def main():
    verb, directory = sys.argv[1], Path(sys.argv[2])
    if verb == "conf":
        write_conf(directory)
    elif verb == "servers":
        import servers

        servers.play(directory, sys.argv[3])
    elif verb == "watch":
        watch(directory, float(sys.argv[3]), sys.argv[4])
    elif verb == "stop":
        (directory / "stopped").write_text(f"{cases.now():.3f}\n")
    elif verb == "told":
        told(directory)
    else:
        sys.exit(__doc__)


sys.dont_write_bytecode = True
main()
