"""Runs without a waiting caller yield the processor to those with one."""

from __future__ import annotations

from sandbox.confinement.limits import BACKGROUND_NICE
from tests.sandbox.hosts import Host

# Its own priority, that of a child, and what comes of each way to raise it again.
PRIORITIES = {
    "python": """
import os
def child():
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, str(os.nice(0)).encode())
        os._exit(0)
    return int(os.read(reader, 10))
def raised():
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    except OSError as error:
        return type(error).__name__
return [os.nice(0), child(), raised() if payload else None, os.nice(0)]
""",
    "javascript": """
const os = require("node:os"), { execFileSync } = require("node:child_process");
const child = () => Number(execFileSync(process.execPath, ["-p", "os.getPriority()"]));
const raised = () => {
  try { os.setPriority(0); } catch (error) { return error.info?.code ?? error.code; }
  return null;
};
const first = os.getPriority();
return [first, child(), payload ? raised() : null, os.getPriority()];
""",
}


def test_a_run_in_the_background_is_nice_and_stays_so(host: Host, language: str) -> None:
    own, child, refusal, later = host.value(language, PRIORITIES[language], "true", background=True)
    assert own == child == later == BACKGROUND_NICE
    assert refusal in ("PermissionError", "EACCES", "EPERM")


def test_a_run_that_somebody_waits_for_is_not(host: Host, language: str) -> None:
    assert host.value(language, PRIORITIES[language], "false") == [0, 0, None, 0]
