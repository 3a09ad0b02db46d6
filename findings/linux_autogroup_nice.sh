#!/usr/bin/env bash
# Subject: `nice` on Linux, for a long training that is started in a session of its own (setsid, nohup, ssh, a terminal
#   tab) beside other work on the same cores.
# Guess: a process at nice 19 beside one at nice 0 gets about 1.5 % of a core that both want (weights 15 and 1024).
# Reality: it gets half. With kernel.sched_autogroup_enabled = 1, the default of most distributions, every session is a
#   group with an equal share, and nice ranks processes inside their session only. A "background" training slows the
#   foreground to half, and renicing another session's process to -20 does not speed it up, either. What works is the
#   group's own value: `echo 19 > /proc/self/autogroup` (or PID) before the work starts.
# Versions: Linux 6.1 and newer, util-linux' setsid and taskset, Python 3.11. No package is installed. Prints `skipped`
#   where autogroups are off, where process groups are managed otherwise (a CPU cgroup), or without setsid and taskset.
# Output seen:
#   one session, nice 0 and 19: the nicer one got 1 % of the core
#   two sessions, nice 0 and 19: the nicer one got 46 % of the core
#   two sessions, autogroup 0 and 19: the nicer one got 2 % of the core
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
switch=/proc/sys/kernel/sched_autogroup_enabled
if [ "$(cat "$switch" 2> /dev/null || echo 0)" != 1 ] || ! command -v setsid taskset > /dev/null; then
    echo skipped
    exit 0
fi

cat > "$work/find.py" <<'PY'
import os
import subprocess
import sys
import time

core = min(os.sched_getaffinity(0))
BUSY = "import sys, time\nwhile time.time() < float(sys.argv[1]): pass\nprint(time.process_time())"


def share(sessions, nice=0, group=0):
    """Percent of one core that the second of two busy processes gets; it has the niceness or the group's value."""
    own = f"open('/proc/self/autogroup', 'w').write('{group}'); " if sessions > 1 and group else ""
    stop = str(time.time() + 5)  # one moment for both: nobody is measured alone
    programs = [
        ["taskset", "-c", str(core), sys.executable, "-c", BUSY, stop],
        ["taskset", "-c", str(core), "nice", "-n", str(nice), sys.executable, "-c", own + BUSY, stop],
    ]
    if sessions > 1:
        programs = [["setsid", *program] for program in programs]
    running = [subprocess.Popen(program, stdout=subprocess.PIPE, text=True) for program in programs]
    first, second = (float(process.communicate()[0]) for process in running)
    return 100 * second / (first + second)


def core_is_ours():
    """True if a busy process alone gets most of the core."""
    program = ["taskset", "-c", str(core), sys.executable, "-c", BUSY, str(time.time() + 5)]
    return float(subprocess.run(program, capture_output=True, text=True).stdout) > 4.2


if not core_is_ours() or open("/proc/self/autogroup").read().startswith("/ "):
    print("skipped")
    sys.exit(0)
within, across, mended = share(1, nice=19), share(2, nice=19), share(2, group=19)
print(f"one session, nice 0 and 19: the nicer one got {within:.0f} % of the core")
print(f"two sessions, nice 0 and 19: the nicer one got {across:.0f} % of the core")
print(f"two sessions, autogroup 0 and 19: the nicer one got {mended:.0f} % of the core")
sys.exit(not (within < 15 and across > 35 and mended < 15))
PY
python3 "$work/find.py"
