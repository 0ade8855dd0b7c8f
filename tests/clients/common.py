"""Starts `alpha-arena exchange` for a client script and says what passed.

Each script is run by `tests/clients/run.sh`; the binary's path comes from $ALPHA_ARENA_BIN.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request

SEED = int(os.environ.get("SEED", "11"))


class Exchange:
    """An exchange of its own on a free loopback port, ended with the script."""

    def __init__(self, *flags):
        binary = os.environ["ALPHA_ARENA_BIN"]
        command = [binary, "exchange", "--json", "--seed", str(SEED), *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(command)} did not start (code {self.process.wait()})")
        self.at = json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=10)

    def sim(self, path, body=None):
        """Talks to the simulation's own endpoints."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.at["rest"] + path, data=data)) as reply:
            return json.load(reply)


class Report:
    """Counts what passed and stops at nothing: one run shows every failure."""

    def __init__(self, name):
        self.name, self.passed, self.failed = name, 0, []

    def check(self, what, truth, shown=""):
        if truth:
            self.passed += 1
        else:
            self.failed.append(f"{what}: {shown}")
            print(f"  FAILED {what}: {str(shown)[:400]}")

    def run(self, what, work):
        """Runs `work`; an exception of any kind is a failure with its text."""
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            self.check(what, False, f"{type(error).__name__} {error}")
            return None
        self.check(what, result is not False, result)
        return result

    def raises(self, what, kind, work):
        """`work` must end in exactly the client's own exception `kind`."""
        try:
            result = work()
        except kind as error:
            self.check(what, True)
            return error
        except Exception as error:  # noqa: BLE001
            self.check(what, False, f"expected {kind.__name__}, got {type(error).__name__} {error}")
            return None
        self.check(what, False, f"expected {kind.__name__}, got an answer: {result}")
        return None

    def end(self):
        print(f"{self.name}: seed {SEED}, {self.passed} passed, {len(self.failed)} failed")
        sys.exit(1 if self.failed else 0)


def until(what, truth, seconds=20):
    """Waits until `truth()` holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = truth()
        if value:
            return value
        time.sleep(0.05)
    raise TimeoutError(what)
