"""Functions that workers run in these tests: good ones, slow ones, and those that break something."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from finagent.queue.compute import ComputeContext, ComputeStopError
from finagent.queue.job import JsonValue
from finagent.runtime.errors import GiveUpError, RetryError

Arguments = Mapping[str, JsonValue]


def path_to(name: str) -> str:
    """How a task names a function of this file."""
    return f"{__name__}:{name}"


def add(arguments: Arguments, context: ComputeContext) -> JsonValue:
    return int(str(arguments["a"])) + int(str(arguments["b"]))


def echo(arguments: Arguments, context: ComputeContext) -> JsonValue:
    return dict(arguments)


def whoami(arguments: Arguments, context: ComputeContext) -> JsonValue:
    return {"pid": os.getpid(), "attempt": context.attempt, "scratch": str(context.scratch)}


def modules(arguments: Arguments, context: ComputeContext) -> JsonValue:
    return sorted(sys.modules)


def open_files(arguments: Arguments, context: ComputeContext) -> JsonValue:
    links = []
    for entry in sorted(os.listdir("/proc/self/fd")):
        try:
            links.append(os.readlink(f"/proc/self/fd/{entry}"))
        except OSError:
            continue  # the one that listed the folder
    return list(links)


def report_often(arguments: Arguments, context: ComputeContext) -> JsonValue:
    calls = int(str(arguments["calls"]))
    for number in range(calls):
        context.progress(number / calls, f"step {number}")
    context.progress(1.5)
    return calls


def wait_for_gate(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """Report until the file exists."""
    gate = Path(str(arguments["gate"]))
    while not gate.exists():
        context.progress(0.5, f"pid {os.getpid()}")
        threading.Event().wait(0.01)
    return os.getpid()


def burn(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """Burn a core for ever and say so."""
    while True:
        context.progress(0.1, f"pid {os.getpid()}")


def burn_silently(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """Burn a core for ever and listen to nobody."""
    context.progress(0.1, f"pid {os.getpid()}")
    while True:
        pass


def burn_stubbornly(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """The same, and refuse a SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return burn_silently(arguments, context)


def hold_the_interpreter(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """Native code that lets no other thread run, as some libraries have it."""
    context.progress(0.1, f"pid {os.getpid()}")
    ctypes.PyDLL(None).sleep(60)
    return None


def burn_and_swallow(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """A loop with the wide net that library code likes to have."""
    while True:
        try:
            context.progress(0.1, f"pid {os.getpid()}")
        except Exception:
            continue


def raise_error(arguments: Arguments, context: ComputeContext) -> JsonValue:
    raise ValueError("the 7th bar has no close")


def raise_unreadable(arguments: Arguments, context: ComputeContext) -> JsonValue:
    class UnreadableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    raise UnreadableError


def give_up(arguments: Arguments, context: ComputeContext) -> JsonValue:
    raise GiveUpError("there is no such dataset")


def ask_for_retry(arguments: Arguments, context: ComputeContext) -> JsonValue:
    raise RetryError("the disk is busy", retry_after_s=7.0)


def stop_uninvited(arguments: Arguments, context: ComputeContext) -> JsonValue:
    raise ComputeStopError


def exit_politely(arguments: Arguments, context: ComputeContext) -> JsonValue:
    sys.exit(3)


def exit_hard(arguments: Arguments, context: ComputeContext) -> JsonValue:
    os._exit(3)


def crash(arguments: Arguments, context: ComputeContext) -> JsonValue:
    os.kill(os.getpid(), signal.SIGSEGV)
    return None


def recurse(arguments: Arguments, context: ComputeContext) -> JsonValue:
    return recurse(arguments, context)


def give_object(arguments: Arguments, context: ComputeContext) -> JsonValue:
    return object()  # type: ignore[return-value]


def give_nan(arguments: Arguments, context: ComputeContext) -> JsonValue:
    return float("nan")


def give_much(arguments: Arguments, context: ComputeContext) -> JsonValue:
    return "x" * int(str(arguments["chars"]))


def report_nan(arguments: Arguments, context: ComputeContext) -> JsonValue:
    context.progress(float("nan"))
    return None


def talk(arguments: Arguments, context: ComputeContext) -> JsonValue:
    print("hello from a worker")
    os.write(1, b"hello from below python\n")
    return "said"


def close_streams(arguments: Arguments, context: ComputeContext) -> JsonValue:
    sys.stdout.close()
    sys.stderr.close()
    return "closed"


def close_channel(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """Close everything, the channel too."""
    os.closerange(3, 256)
    return None


def write_on_all_files(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """Nonsense on the channel, whichever number it has."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"what is this?\n")
        except OSError:
            continue
    threading.Event().wait(30)
    return None


def die_with_heir(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """Leave a process behind that holds the channel open, and die."""
    if (heir := os.fork()) == 0:
        signal.alarm(60)
        signal.pause()
    context.progress(0.1, f"pid {heir}")
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def report_from_a_thread_later(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """A thread that goes on when its task is over."""

    def chatter() -> None:
        try:
            while not Path(str(arguments["gate"])).exists():
                context.progress(0.9, "an old task")
        except ComputeStopError:
            return

    threading.Thread(target=chatter, daemon=True).start()
    return "left a thread"


def count(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """Count to `until` with a checkpoint each step; wait before `pause_at` while the gate is shut, and say so.

    A witness line per step shows which process did it.
    """
    saved = context.saved()
    first = 0 if saved is None else int(str(saved))
    until, pause_at = int(str(arguments["until"])), int(str(arguments.get("pause_at", -1)))
    witness, gate = Path(str(arguments["witness"])), Path(str(arguments.get("gate", "/")))
    for step in range(first, until):
        while step == pause_at and not gate.exists():
            context.progress(step / until, f"pid {os.getpid()}")
            threading.Event().wait(0.01)
        with witness.open("a") as file:
            file.write(f"{context.attempt} {os.getpid()} {step}\n")
        context.save(step + 1)
        context.progress(step / until, f"step {step}")
    return {"counted": until, "from": first, "attempt": context.attempt}


def pause_silently(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """The first try says once that it is there, then nothing for ever; later ones are done at once."""
    if context.attempt == 1:
        context.progress(0.1, f"pid {os.getpid()}")
        threading.Event().wait()
    return context.attempt


def work_for(arguments: Arguments, context: ComputeContext) -> JsonValue:
    """Work so long and say so all the time."""
    began_s = time.monotonic()
    while (spent_s := time.monotonic() - began_s) < float(str(arguments["seconds"])):
        context.progress(spent_s / float(str(arguments["seconds"])), f"pid {os.getpid()}")
        threading.Event().wait(0.01)
    return "worked"
