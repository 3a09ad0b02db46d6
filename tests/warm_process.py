"""Processes of their own without their imports: a server that has loaded everything forks one for each program.

A program runs as `python` would run it (own process id, environment, working folder, standard streams; it can be
killed), except that what takes seconds of computing, importing torch and diffusers, was done once for the whole test
run. What is tested about loading itself (no heavy import for a wrong option, say) needs a fresh `python` instead.
"""

import array
import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
READ_AT_IMPORT = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TQDM_DELAY": "5",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Environment that the commands set before they import libraries."""


def load() -> None:
    """Import what programs of tests use. Nothing may compute: threads do not come along with a fork."""
    import hypothesis  # noqa: F401  (test files, whose functions some programs call)
    import ray.data  # noqa: F401
    from diffusers import WanTransformer3DModel  # noqa: F401
    from transformers import CLIPVisionModel, UMT5EncoderModel  # noqa: F401

    import posegen.apps.commands
    import posegen.apps.prepare_command
    import posegen.generate.long_video
    import posegen.synthetic.clip
    import posegen.train.training  # noqa: F401


def serve(path: str) -> None:
    """Fork a process for each request, until the last of those who hold a connection open lets go."""
    from posegen.library_imports import imported_for_good

    os.environ.update(READ_AT_IMPORT)
    with imported_for_good():
        load()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # of a server that ended
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    holders: set[socket.socket] = set()
    children: dict[int, socket.socket] = {}
    used = False
    while not used or holders or children:
        for key, _ in selector.select():
            if key.fileobj is woken:
                woken.recv(4096)
                while children:
                    child, status = os.waitpid(-1, os.WNOHANG)
                    if child == 0:
                        break
                    asked = children.pop(child)
                    with contextlib.suppress(OSError):  # whoever asked may be gone
                        asked.sendall(json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode() + b"\n")
                    asked.close()
            elif key.fileobj is listener:
                connection, _ = listener.accept()
                request, streams = _receive(connection)
                if request is None:  # only holds
                    used = True
                    holders.add(connection)
                    connection.sendall(b"held\n")
                    selector.register(connection, selectors.EVENT_READ)
                    continue
                child = os.fork()
                if child == 0:
                    for each in (listener, woken, wake, *holders, *children.values(), connection):
                        each.close()
                    selector.close()
                    _become(request, streams)
                for stream in streams:
                    os.close(stream)
                children[child] = connection
                with contextlib.suppress(OSError):
                    connection.sendall(json.dumps({"pid": child}).encode() + b"\n")
            else:
                selector.unregister(key.fileobj)
                holders.discard(key.fileobj)
                key.fileobj.close()


def _receive(connection: socket.socket) -> tuple[dict | None, list[int]]:
    """A request and the three standard streams that came with it."""
    streams = array.array("i")
    data, ancillary, *_ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(3 * streams.itemsize))
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            streams.frombytes(content[: len(content) - len(content) % streams.itemsize])
    while not data.endswith(b"\n"):
        data += connection.recv(1 << 16)
    return json.loads(data), list(streams)


def _become(request: dict, streams: list[int]) -> None:
    """Be the program that was asked for, in a child; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        for number, mode in enumerate("rww"):
            setattr(sys, ("stdin", "stdout", "stderr")[number], open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = ["-c", *request["arguments"]]
        try:
            exec(compile(request["program"], "<program>", "exec"), {"__name__": "__main__"})
            code = 0
        except SystemExit as request_to_exit:
            code = _exit_code(request_to_exit.code)
        except KeyboardInterrupt:
            traceback.print_exc()
            code = 128 + signal.SIGINT
        except BaseException:
            traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            import atexit

            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code)


def _exit_code(code: object) -> int:
    if isinstance(code, int):
        return code & 255
    if code is not None:
        print(code, file=sys.stderr)
    return 0 if code is None else 1


class WarmProcess(subprocess.Popen):
    """A process made by the server; used as one of `subprocess.Popen`, of which it has the name and nothing else."""

    def __init__(self, path, program, arguments, environment, stdin, stdout, stderr, text):
        ends, mine = [], {}
        with contextlib.ExitStack() as opened:
            for name, wanted in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)):
                mode = os.O_RDONLY if name == "stdin" else os.O_WRONLY
                if wanted == subprocess.PIPE:
                    reading, writing = os.pipe()
                    theirs, ours = (reading, writing) if name == "stdin" else (writing, reading)
                    opened.callback(os.close, theirs)
                    mine[name] = open(ours, ("w" if name == "stdin" else "r") + ("" if text else "b"))  # noqa: SIM115
                elif wanted == subprocess.DEVNULL or (wanted is None and name == "stdin"):
                    theirs = os.open(os.devnull, mode)
                    opened.callback(os.close, theirs)
                elif wanted is None:
                    theirs = {"stdout": 1, "stderr": 2}[name]
                else:
                    theirs = wanted if isinstance(wanted, int) else wanted.fileno()
                ends.append(theirs)
            self.stdin, self.stdout, self.stderr = (mine.get(name) for name in ("stdin", "stdout", "stderr"))
            self.args, self.returncode = program, None
            request = {
                "program": program,
                "arguments": [str(each) for each in arguments],
                "folder": os.getcwd(),
                "environment": {**os.environ, **(environment or {})},
            }
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.connect(path)
            message = json.dumps(request).encode() + b"\n"
            sent = self._connection.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", ends))])
            self._connection.sendall(message[sent:])
            self._answers = self._connection.makefile("r")
            self.pid = json.loads(self._answers.readline())["pid"]

    def poll(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._connection, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired("a warm process", timeout)
            self.returncode = json.loads(self._answers.readline())["code"]
            self._answers.close()
            self._connection.close()
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, given=None, timeout=None):
        """Everything that it writes, once it has ended."""
        import threading

        said = {}
        readers = [
            threading.Thread(target=lambda name=name, stream=stream: said.setdefault(name, stream.read()), daemon=True)
            for name, stream in (("stdout", self.stdout), ("stderr", self.stderr))
            if stream is not None
        ]
        for reader in readers:
            reader.start()
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                if given:
                    self.stdin.write(given)
                self.stdin.close()
        deadline = None if timeout is None else time.monotonic() + timeout
        self.wait(timeout)
        for reader in readers:
            reader.join(None if deadline is None else max(0.1, deadline - time.monotonic()))
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        return said.get("stdout"), said.get("stderr")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self.wait()


class Warm:
    """Starts programs: `warm(text, arguments)`, and the command line: `warm.posegen(arguments)`."""

    def __init__(self, folder: Path, lock) -> None:
        self.path, self._server = str(folder / "warm"), None
        with lock:
            if not self._hold():
                command = [
                    sys.executable,
                    "-c",
                    "import sys, warm_process; warm_process.serve(sys.argv[1])",
                    self.path,
                ]
                paths = os.pathsep.join([str(SOURCE), str(Path(__file__).parent)])
                environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
                self._server = subprocess.Popen(command, env=environment)
                while not self._hold():
                    assert self._server.poll() is None, "the server of warm processes ended"
                    time.sleep(0.1)

    def _hold(self) -> bool:
        """Keep the server there; false where there is none, or it is about to end."""
        self._holder = socket.socket(socket.AF_UNIX)
        try:
            self._holder.connect(self.path)
            self._holder.sendall(b"null\n")
            return self._holder.recv(16) == b"held\n"
        except OSError:
            self._holder.close()
            return False

    def __call__(self, program, arguments=(), *, environment=None, stdin=None, stdout=None, stderr=None, text=True):
        """Start Python's text `program`."""
        return WarmProcess(self.path, program, arguments, environment, stdin, stdout, stderr, text)

    def posegen(self, *arguments, **options):
        """Start `posegen ARGUMENTS`."""
        return self("from posegen.apps.cli import main; main()", arguments, **options)

    def run(self, program, arguments=(), timeout=600, **options) -> subprocess.CompletedProcess:
        """Run to the end, as `subprocess.run(..., capture_output=True, text=True)`."""
        process = self(program, arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        try:
            said, errors = process.communicate(timeout=timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, said, errors)

    def run_posegen(self, *arguments, **options) -> subprocess.CompletedProcess:
        return self.run("from posegen.apps.cli import main; main()", arguments, **options)

    def close(self) -> None:
        self._holder.close()
        if self._server is not None:
            self._server.wait(600)
