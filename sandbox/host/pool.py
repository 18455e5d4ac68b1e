"""The sandbox: runs functions, each in a process of its own that was confined before its job was known."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from collections import OrderedDict, deque
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sandbox import native
from sandbox.confinement import packages, root, workspaces
from sandbox.confinement.limits import Limits, standing_of_node, standing_of_python
from sandbox.confinement.uids import UidRange
from sandbox.host.child import Child
from sandbox.host.gaps import closed_to_runs, gaps_of, limits_not_exact
from sandbox.host.node_command import NodeCommand
from sandbox.host.node_template_pool import NodeTemplatePool
from sandbox.host.streams import Sink
from sandbox.host.template_process import TemplateProcess
from sandbox.model import Language, Network, Report, RunError, RunOutcome, RunRequest, Runtime, SandboxError
from sandbox.protocol.orders import Mode, NodeTemplateOrder, SpawnOrder, TemplateSettings

log = logging.getLogger(__name__)
Kind = tuple[Runtime, int, Network]  # the number is, for Node.js, the memory its heap is limited for
LEAST_PARKED, MOST_PARKED = 2, 4  # of each kind: more where they run out, few again when nobody asks
CALM_SECONDS = 60.0
REFILL_SECONDS = 0.005  # after a parked process was taken: short runs are over by then, and held up by nothing
PARKED_KINDS = 4
RESPAWN_SECONDS = 0.2
RUN_DIR_PREFIX = "zmesh-run-"
PATIENCE_SECONDS = 10.0
SAMPLES: Mapping[Language, str] = {
    "python": "def handler(payload, zmesh):\n    return 1",
    "javascript": "exports.handler = () => 1",
}


class Sandbox:
    """Up to `slots` runs at a time; a few more processes are parked, confined and ready."""

    def __init__(
        self,
        slots: int,
        run_dir: Path | None = None,
        *,
        sdk: Path | None = None,
        hidden: Sequence[Path] = (),
        modes: Sequence[Mode] | None = None,
    ) -> None:
        """`run_dir` holds workspaces where there are no namespaces; `hidden` folders are empty for runs.

        `modes` are the kinds of isolation to try, best first; without it, all that fit the user we are.
        """
        self._modes = modes or (("root", "process") if os.geteuid() == 0 else ("user_namespace", "process"))
        self._slots = slots
        self._run_dir = run_dir
        self._own_run_dir = run_dir is None
        self._sdk = (sdk or Path(__file__).resolve().parents[2] / "sdk").resolve()
        self._packages = packages.packages_of_runs(self._sdk)
        self._hidden = sorted({str(Path(__file__).resolve().parents[1]), *map(str, hidden)})
        self._node = NodeCommand(self._sdk)
        self._node_templates = NodeTemplatePool(self._node, self._order_node)
        self._free = asyncio.Semaphore(slots)
        self._parked: OrderedDict[Kind, deque[Child]] = OrderedDict()
        self._wanted: dict[Kind, int] = {}  # how many are to be parked, where that is more than the least
        self._calming: dict[Kind, asyncio.TimerHandle] = {}
        self._filling: set[Kind] = set()
        self._slot_of: dict[int, int] = {}  # run → slot, until nothing of the run is left
        self._free_slots: list[int] = []  # the last first: the template keeps plans of slots that were used lately
        self._slot_freed = asyncio.Event()
        self._last_run = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._template: TemplateProcess | None = None
        self._uids: UidRange | None = None
        self._report = Report("reduced", "process", (), "started")
        self._lock = -1
        self._closing = False

    async def start(self) -> None:
        """Find the best isolation that works here and get ready. Raises SandboxError."""
        if self._run_dir is None:
            workspaces.remove_abandoned(tempfile.gettempdir(), RUN_DIR_PREFIX)
            self._run_dir = Path(tempfile.mkdtemp(prefix=RUN_DIR_PREFIX))
        self._run_dir.mkdir(parents=True, exist_ok=True)
        os.chmod(self._run_dir, 0o711)
        try:
            self._lock = workspaces.claim(str(self._run_dir))
        except OSError as error:
            raise SandboxError(f"{self._run_dir} is another sandbox's, or not ours: {error}. Name a folder.") from error
        (self._run_dir / "root").mkdir(exist_ok=True)
        self._sweep()
        self._free_slots.extend(range(self._slots + PARKED_KINDS * MOST_PARKED))
        if os.geteuid() == 0:
            self._uids = UidRange()
        why: list[str] = []
        for mode, with_native in self._ways():
            try:
                await self._start_template(mode, with_native)
                await self._try_out()
            except SandboxError as error:
                log.info("isolation by %s%s is not possible: %s", mode, " with forks" if with_native else "", error)
                why.append(str(error))
                await self._stop_template()
                continue
            self._report = self._describe(mode, with_native, why)
            self._spawn_task(self._keep_template())
            return
        raise SandboxError("No isolation works on this machine: " + " | ".join([*why, *self._likely_cause()]))

    def _ways(self) -> list[tuple[Mode, bool]]:
        """How to isolate and whether to fork booted runtimes, best first."""
        built = native.is_built()
        return [
            (mode, with_native)
            for mode in self._modes
            for with_native in (True, False)
            if not with_native or (built and mode != "process")
        ]

    def _likely_cause(self) -> list[str]:
        """Root may read what the users of runs may not, which shows as failures of every kind."""
        closed = closed_to_runs("process", self._folders()) if self._uids else []
        if not closed:
            return []
        return [
            f"Runs have users of their own, who cannot enter {', '.join(closed)}: let others read and enter these "
            "(chmod o+x the folders above, chmod -R o+rX the last), or install where everybody may."
        ]

    def _describe(self, mode: Mode, with_native: bool, why: Sequence[str]) -> Report:
        gaps = gaps_of(mode, list(dict.fromkeys(why)), own_users=self._uids is not None)
        level: Literal["full", "reduced"] = "reduced" if mode == "process" or gaps else "full"
        # What follows is slower, less exact or less convenient, not less isolated.
        gaps += limits_not_exact()
        if self._uids and (closed := closed_to_runs(mode, self._folders())):
            gaps.append(f"the users of runs cannot enter {', '.join(closed)}: modules there cannot be imported later")
        if with_native:
            return Report(level, mode, tuple(gaps), "forked")
        reason = "there are no namespaces" if mode == "process" else why[-1] if why else "no native code was built"
        gaps.append(f"each run of JavaScript starts Node.js anew instead of forking one: {reason}")
        return Report(level, mode, tuple(gaps), "started")

    def report(self) -> Report:
        """How well runs are isolated."""
        return self._report

    def parked(self) -> Mapping[Runtime, int]:
        """How many confined processes wait for a run, by runtime."""
        found: dict[Runtime, int] = {"python": 0, "node": 0}
        for (runtime, *_), children in self._parked.items():
            found[runtime] += len(children)
        return found

    async def close(self) -> None:
        """End everything that runs; nothing is left afterwards."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stop_template()
        if self._uids is not None:
            self._uids.close()
        if self._run_dir is not None:
            self._sweep()
            if self._own_run_dir:
                workspaces.remove(str(self._run_dir))
            if self._lock >= 0:
                os.close(self._lock)

    async def run(
        self, request: RunRequest, cancel: asyncio.Event | None = None, sink: Sink | None = None
    ) -> RunOutcome:
        """Run one request; never raises for anything the code does. A response made piece by piece goes to `sink`."""
        async with self._free:
            try:
                child = await self._take(request)
            except SandboxError as error:
                return _failed(str(error))
            try:
                return await child.run(request, cancel or asyncio.Event(), sink)
            finally:
                if child.alive and self._template is not None:
                    self._template.kill(child.number)
                child.close()

    # Children

    async def _take(self, request: RunRequest) -> Child:
        memory_mb = 0 if request.runtime == "python" else request.limits.memory_mb
        kind: Kind = (request.runtime, memory_mb, request.network)
        if standing_of_python(request.limits) != standing_of_python(Limits()):
            return await self._make(kind, request.limits)  # parked ones have other limits, whatever their runtime
        parked = self._parked.setdefault(kind, deque())
        self._parked.move_to_end(kind)
        child: Child | None = None
        while parked and child is None:
            candidate = parked.popleft()
            if candidate.alive and self._template is not None and self._template.ready:
                child = candidate
            else:
                candidate.close()
        # One that nobody had asked for before has not run out.
        self._note_demand(kind, len(parked), ran_out=not parked and (child is not None or kind in self._filling))
        return child or await self._make(kind, request.limits)

    def _note_demand(self, kind: Kind, left: int, *, ran_out: bool) -> None:
        """Replace what was taken, at once where none is left; park one more from now on where they ran out."""
        loop = asyncio.get_running_loop()
        if ran_out:
            self._wanted[kind] = min(self._wanted.get(kind, LEAST_PARKED) + 1, MOST_PARKED)
        if left == 0:
            self._refill(kind)
        else:
            loop.call_later(REFILL_SECONDS, self._refill, kind)
        if kind in self._calming:
            self._calming[kind].cancel()
        self._calming[kind] = loop.call_later(CALM_SECONDS, self._calm, kind)

    def _calm(self, kind: Kind) -> None:
        """Nobody has asked for a while: the least is enough."""
        self._wanted.pop(kind, None)
        del self._calming[kind]
        parked = self._parked.get(kind, deque())
        while len(parked) > LEAST_PARKED:
            parked.pop().close()

    def _refill(self, kind: Kind) -> None:
        if kind not in self._filling and not self._closing:
            self._filling.add(kind)
            self._spawn_task(self._fill(kind))

    async def _fill(self, kind: Kind) -> None:
        try:
            self._forget_old_kinds()
            while len(self._parked.setdefault(kind, deque())) < self._wanted.get(kind, LEAST_PARKED):
                child = await self._make(kind, Limits(memory_mb=kind[1] or 256))
                self._parked.setdefault(kind, deque()).append(child)  # another one, if the template ended meanwhile
        except SandboxError as error:
            log.warning("parking: %s", error)
        finally:
            self._filling.discard(kind)

    def _forget_old_kinds(self) -> None:
        """Park processes for the kinds used last only."""
        for kind in list(self._parked)[:-PARKED_KINDS]:
            for child in self._parked.pop(kind):
                child.close()

    async def _make(self, kind: Kind, limits: Limits) -> Child:
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            template = await self._living_template(deadline)
            try:
                return await self._make_with(template, kind, limits)
            except SandboxError:
                if not template.gone.is_set():
                    raise

    async def _living_template(self, deadline: float) -> TemplateProcess:
        """The template; one that ended is replaced in a moment."""
        while self._template is None or not self._template.ready:
            if asyncio.get_running_loop().time() > deadline:
                raise SandboxError("The sandbox's template ended and does not start again.")
            await asyncio.sleep(RESPAWN_SECONDS / 10)
        return self._template

    async def _make_with(self, template: TemplateProcess, kind: Kind, limits: Limits) -> Child:
        while not self._free_slots:
            self._slot_freed.clear()
            await self._slot_freed.wait()
        self._last_run += 1
        run = self._last_run
        self._slot_of[run] = slot = self._free_slots.pop()
        child = Child(run, slot)
        spawning = asyncio.ensure_future(self._spawn(template, self._order(kind, run, slot, limits), child))
        try:
            await asyncio.shield(spawning)  # an order that was given is carried out
        except asyncio.CancelledError:
            spawning.add_done_callback(lambda done: child.close())
            spawning.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else waits for it
            raise
        return child

    async def _spawn(self, template: TemplateProcess, order: SpawnOrder, child: Child) -> None:
        try:
            await template.spawn(order, child)
        except SandboxError:
            self._reaped(order.run)
            child.close()
            raise

    def _order(self, kind: Kind, run: int, slot: int, limits: Limits) -> SpawnOrder:
        runtime, _, network = kind
        is_open = network == "open"
        if runtime == "python":
            return SpawnOrder(run, slot, [], 0, is_open, standing_of_python(limits))
        if (ready := self._node_templates.template_for(limits.memory_mb)) is not None:
            node_template, data_bytes = ready
            return SpawnOrder(run, slot, [], node_template, is_open, standing_of_node(limits, data_bytes))
        return SpawnOrder(run, slot, self._node.command(limits.memory_mb), 0, is_open, standing_of_node(limits, None))

    def _reaped(self, run: int) -> None:
        slot = self._slot_of.pop(run, None)
        if slot is None:
            return
        self._free_slots.append(slot)
        self._slot_freed.set()

    # The template

    async def _start_template(self, mode: Mode, with_native: bool) -> None:
        settings = TemplateSettings(
            mode=mode,
            run_dir=str(self._run_dir),
            sdk=str(self._sdk),
            readable=self._readable(mode, with_native),
            hidden=self._hidden if mode == "process" else [*self._hidden, *packages.installed_with_python()],
            packages=self._packages,
            base_uid=self._uids.base if self._uids else None,
            slots=len(self._free_slots) + len(self._slot_of),
            native=with_native,
        )
        self._settings = settings
        self._template = TemplateProcess(settings, self._reaped, self._node_templates.ready, self._node_templates.gone)
        try:
            await self._template.start()
        except SandboxError:
            self._template = None
            raise
        self._node_templates.on = with_native

    def _readable(self, mode: Mode, with_native: bool) -> list[str]:
        """Folders beside the system's, or, where there is no root of runs' own, all there are."""
        folders = [*self._folders(), native.FOLDER] if with_native else self._folders()
        if mode != "process":
            return folders
        packages.link(f"{self._run_dir}/packages", self._packages)
        folders += [f"{self._run_dir}/packages", *self._packages.values()]
        return root.visible([*root.SYSTEM_FOLDERS, *root.SYSTEM_FILES, *folders], self._hidden)

    def _folders(self) -> list[str]:
        return sorted({sys.base_prefix, self._node.prefix, str(self._sdk)})

    async def _stop_template(self) -> None:
        for parked in self._parked.values():
            for child in parked:
                child.close()
        self._parked.clear()
        self._node_templates.all_gone()
        if self._template is not None:
            await self._template.close()
            self._template = None
        for run in list(self._slot_of):
            self._reaped(run)

    async def _try_out(self) -> None:
        """One run of each runtime through the real path. Raises SandboxError."""
        if self._settings.native:
            await self._node_templates.start(Limits().memory_mb)
        for language, code in SAMPLES.items():
            outcome = await self.run(RunRequest(language, code, "handler", "sample", "{}"))
            if outcome.status != "success":
                said = "; ".join(line.message for line in outcome.logs[-20:])
                raise SandboxError(f"a {language} sample did not run: {_reason(outcome.error)} {said}".rstrip())

    def _order_node(self, order: NodeTemplateOrder) -> None:
        if self._template is not None:
            self._template.order_node(order)

    async def _keep_template(self) -> None:
        """Replace the template if it ever ends."""
        while True:
            assert self._template is not None
            await self._template.gone.wait()
            log.error("the sandbox's template ended; starting another")
            await self._stop_template()
            while self._template is None:
                try:
                    await self._start_template(self._settings.mode, self._settings.native)
                except SandboxError as error:
                    log.error("%s", error)
                    await asyncio.sleep(RESPAWN_SECONDS)

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _sweep(self) -> None:
        """Remove what an earlier sandbox that crashed has left."""
        assert self._run_dir is not None
        for left in self._run_dir.glob("run-*"):
            workspaces.remove(str(left))


def _reason(error: RunError | None) -> str:
    return "" if error is None else f"{error.type}: {error.message}"


def _failed(message: str) -> RunOutcome:
    return RunOutcome("error", None, None, RunError("sandbox_failed", message), [], 0, 0, 0)
