"""A process that has imported the kit and forks for each command: a fresh start in a fifth of the time.

`zygote.py serve SOCKET` waits for commands; `zygote.py do SOCKET CHEAT VERB ...` has one done, with its own output,
environment and exit code, by `cheat.py` (CHEAT: its name there, or "honest").
"""

import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path

CHEATS = str(Path(__file__).with_name("cheat.py"))


def serve(path):
    """Fork for each command until the process is killed."""
    import torch

    import isckit.engine.describe
    import isckit.engine.train
    import isckit.judge.rules.examine
    import isckit.tracks.find  # noqa: F401  what the verbs import

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children here
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)
        while True:
            client, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os._exit(_answer(client, torch))
            client.close()


def _answer(client, torch):
    message, fds, _, _ = socket.recv_fds(client, 1 << 20, 2)
    given = json.loads(message)
    child = os.fork()
    if child:
        client.send(bytes([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF]))
        return 0
    for number, fd in enumerate(fds, start=1):
        os.dup2(fd, number)
    os.environ.clear()
    os.environ.update(given["environment"])
    if threads := given["environment"].get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    sys.argv = [CHEATS, *given["words"]]
    try:
        runpy.run_path(CHEATS, run_name="__main__")
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        return end.code or 0
    return 1


def do(path, words):
    """Have a command done and return its exit code."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        message = json.dumps({"words": words, "environment": dict(os.environ)}).encode()
        socket.send_fds(server, [message], [1, 2])
        return server.recv(1)[0]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    sys.exit(do(sys.argv[2], sys.argv[3:]))
