"""The sandbox: runs functions, each in a process of its own that was confined before its job was known."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

from sandbox import native
from sandbox.confinement import packages, root, workspaces
from sandbox.confinement.limits import MIB, Limits, StandingLimits, standing_of_node, standing_of_python
from sandbox.confinement.uids import RANGE, UidRange
from sandbox.host.child import Child
from sandbox.host.compiling import Compiler
from sandbox.host.gaps import closed_to_runs, gaps_of, limits_not_exact
from sandbox.host.image_templates import ImageTemplate, ImageTemplates
from sandbox.host.jobs import code_for_template
from sandbox.host.node_command import NodeCommand
from sandbox.host.node_template_pool import NodeTemplatePool
from sandbox.host.parking import MOST_PARKED, PARKED_KINDS, Kind, Parking
from sandbox.host.preloads import MOST_NAMES, Preloads, imported_by
from sandbox.host.streams import Sink
from sandbox.host.template_keys import TemplateKey, has_nearer_packages, key_of_image, key_of_run
from sandbox.host.template_process import TemplateProcess
from sandbox.host.turns import Turns
from sandbox.model import (
    Image,
    ImageTemplateLimits,
    ImageTemplateState,
    Language,
    Network,
    Report,
    RunError,
    RunOutcome,
    RunRequest,
    Runtime,
    SandboxError,
)
from sandbox.protocol.orders import ImageSettings, Mode, NodeTemplateOrder, SpawnOrder, TemplateSettings

log = logging.getLogger(__name__)


USERS_OF_IMAGES = RANGE // 2  # from there on in the range of users: one for each template of an image
RESPAWN_SECONDS = 0.2
RUN_DIR_PREFIX = "zmesh-run-"
PATIENCE_SECONDS = 10.0
PATIENCE_OF_IMAGES = 45.0  # until the runtime has booted, beside what the imports may take
NEARER_PACKAGES = "the function has node_modules among its own files"
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
        images: Path | None = None,
        image_templates: ImageTemplateLimits | None = None,
        on_image_refused: Callable[[ImageTemplateState], None] = lambda state: None,
        modes: Sequence[Mode] | None = None,
    ) -> None:
        """`run_dir` holds workspaces where there are no namespaces; `hidden` folders are empty for runs.

        Images of runs are below the folder `images`; `image_templates` bounds the processes that have imported
        them, and `on_image_refused` is told of each image that cannot have one. `modes` are the kinds of isolation to
        try, best first; without it, all that fit the user we are.
        """
        self._modes = modes or (("root", "process") if os.geteuid() == 0 else ("user_namespace", "process"))
        self._slots = slots
        self._run_dir = run_dir
        self._own_run_dir = run_dir is None
        self._sdk = (sdk or Path(__file__).resolve().parents[2] / "sdk").resolve()
        self._packages = packages.packages_of_runs(self._sdk)
        self._hidden = sorted({str(Path(__file__).resolve().parents[1]), *map(str, hidden)})
        self._images = None if images is None else images.resolve()
        self._node = NodeCommand(self._sdk)
        self._node_templates = NodeTemplatePool(self._node, self._order_node)
        self._image_limits = image_templates or ImageTemplateLimits()
        self._image_templates = ImageTemplates(
            self._image_limits,
            self._start_image_template,
            lambda key: self._parking.close_those(lambda kind: kind.template == key),
            self._image_template_ended,
            on_image_refused,
        )
        self._preloads = Preloads()
        self._compiler = Compiler(self._sdk, self._compile)
        self._users_of_images: dict[TemplateProcess, int] = {}
        self._free = asyncio.Semaphore(slots)
        self._turns = Turns()
        self._parking = Parking(self._make, self._is_usable)
        self._template_of: dict[int, TemplateProcess] = {}  # run → where it was ordered
        self._slot_of: dict[int, int] = {}  # run → slot, until nothing of the run is left
        self._free_slots: list[int] = []  # the last first: the template keeps plans of slots that were used lately
        self._slot_freed = asyncio.Event()
        self._last_run = 0
        self._keeping: asyncio.Task[None] | None = None
        self._template: TemplateProcess | None = None
        self._uids: UidRange | None = None
        self._report = Report("reduced", "process", (), "started")
        self._lock = -1

    async def start(self) -> None:
        """Find the best isolation that works here and get ready. Raises SandboxError."""
        self._claim_folders()
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
            self._image_templates.off = self._no_image_templates()
            self._keeping = asyncio.create_task(self._keep_template())
            return
        raise SandboxError("No isolation works on this machine: " + " | ".join([*why, *self._likely_cause()]))

    def _claim_folders(self) -> None:
        """Make the folders for workspaces and images, and hold the first alone. Raises SandboxError."""
        try:
            run_dir, self._lock = self._hold_run_dir()
            (run_dir / "root").mkdir(exist_ok=True)
            if self._images is not None:
                self._images.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SandboxError(
                f"The folders for workspaces and packages of runs cannot be made: {error}. Let this user write there "
                "(in a container, mount a volume or tmpfs), or name others: ZMESH_RUN_DIR and ZMESH_LAYERS_DIR of a "
                "listener."
            ) from error

    def _hold_run_dir(self) -> tuple[Path, int]:
        """The folder for workspaces, made, and its lock. Raises SandboxError, OSError."""
        if self._run_dir is None:
            workspaces.remove_abandoned(tempfile.gettempdir(), RUN_DIR_PREFIX)
            self._run_dir = Path(tempfile.mkdtemp(prefix=RUN_DIR_PREFIX))
        self._run_dir.mkdir(parents=True, exist_ok=True)
        try:
            os.chmod(self._run_dir, 0o711)
            return self._run_dir, workspaces.claim(str(self._run_dir))
        except OSError as error:
            raise SandboxError(f"{self._run_dir} is another sandbox's, or not ours: {error}. Name a folder.") from error

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
        if with_native and self._template is not None and self._template.facts:
            gaps.append(f"runs with packages import them instead of being forked with them: {self._template.facts}")
        if with_native:
            return Report(level, mode, tuple(gaps), "forked")
        reason = "there are no namespaces" if mode == "process" else why[-1] if why else "no native code was built"
        gaps.append(f"each run of JavaScript starts Node.js anew instead of forking one: {reason}")
        return Report(level, mode, tuple(gaps), "started")

    def _no_image_templates(self) -> str | None:
        """Why none of them can be forked from."""
        if self._settings.native:
            assert self._template is not None
            return f"user namespaces do not work: {self._template.facts}" if self._template.facts else None
        return "this listener cannot fork runs from processes that have imported packages: see `zmesh doctor`"

    def image_templates(self) -> Sequence[ImageTemplateState]:
        """Which images have a process that has imported their packages, and which cannot have one, and why."""
        return self._image_templates.states()

    def report(self) -> Report:
        """How well runs are isolated."""
        return self._report

    def parked(self) -> Mapping[Runtime, int]:
        """How many confined processes wait for a run, by runtime."""
        return self._parking.by_runtime()

    async def close(self) -> None:
        """End everything that runs; nothing is left afterwards."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._parking.stop()
        await self._image_templates.close()
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
            if not request.background:
                self._turns.somebody_waits()
            async with self._turns.taken() if request.background else nullcontext():
                return await self._run(request, cancel or asyncio.Event(), sink)

    async def _run(self, request: RunRequest, cancel: asyncio.Event, sink: Sink | None) -> RunOutcome:
        try:
            request = replace(request, compiled=await self._compiler.compiled(request, cancel))
            if request.image is not None or request.init_once is not None:
                return await self._run_with_template(request, cancel, sink)
            child = await self._take(request)
        except SandboxError as error:
            return _failed(str(error))
        return await self._run_in(child, request, cancel, sink)

    async def _compile(self, request: RunRequest, cancel: asyncio.Event) -> RunOutcome:
        """A run of our own within one that has its turn."""
        return await self._run_in(await self._make(_kind_of(request), request.limits), request, cancel, None)

    async def _run_in(self, child: Child, request: RunRequest, cancel: asyncio.Event, sink: Sink | None) -> RunOutcome:
        try:
            return await child.run(request, cancel, sink)
        finally:
            self._let_go(child)

    def _let_go(self, child: Child) -> None:
        template = self._template_of.get(child.number)
        if child.alive and template is not None:
            template.kill(child.number)
        child.close()

    # Images

    async def _run_with_template(self, request: RunRequest, cancel: asyncio.Event, sink: Sink | None) -> RunOutcome:
        """Run it as a fork of a process that has imported its packages, and loaded its code, if there is one."""
        image, is_loaded = request.image, request.init_once is not None
        place = self._place_of(image)
        base = key_of_run(request, place)
        preload = () if image is None else self._preloads.of(base, image)
        if has_nearer_packages(request):
            preload = ()
            if not is_loaded:
                return await self._run_alone(request, cancel, sink, place, NEARER_PACKAGES)
        key = replace(base, preload=preload)
        learn = image is not None and (image.preload.learn or not preload)
        child = await self._take_forked(request, key)
        if child is None:
            why, refused = self._image_templates.why_not(key), self._image_templates.refusal_of(key) is not None
            outcome = await self._run_alone(request, cancel, sink, place, why, learn=learn)
            key = replace(key, preload=preload or tuple(outcome.imported))
            self._image_templates.wanted(key, request if is_loaded else None)
        else:
            refused, outcome = False, await self._run_forked(child, request, cancel, sink, key, learn=learn)
            if outcome.error is not None and outcome.error.type == "sandbox_failed":
                self._image_templates.failed(key, outcome.error.message)
        if image is not None:
            self._preloads.learn(base, image, outcome.imported)
        return replace(outcome, refused=refused)

    async def _run_forked(
        self,
        child: Child,
        request: RunRequest,
        cancel: asyncio.Event,
        sink: Sink | None,
        key: TemplateKey,
        *,
        learn: bool,
    ) -> RunOutcome:
        """A run whose process has what the key says; what has been imported there, it does not import again."""
        image, is_loaded = self._seen_as(key.image), request.init_once is not None
        try:
            outcome = await child.run(request, cancel, sink, image, learn=learn, is_loaded=is_loaded)
        finally:
            self._let_go(child)
        imported = sorted({*key.preload, *_imported(child, request)})[:MOST_NAMES] if learn else ()
        return replace(outcome, packages="forked", imported=tuple(imported))

    async def _run_alone(
        self,
        request: RunRequest,
        cancel: asyncio.Event,
        sink: Sink | None,
        place: str,
        why: str,
        *,
        learn: bool = False,
    ) -> RunOutcome:
        """A run that imports its packages itself."""
        child = await self._make(_kind_of(request), request.limits, place)
        try:
            outcome = await child.run(request, cancel, sink, self._seen_as(place), learn=learn)
        finally:
            self._let_go(child)
        return replace(outcome, packages="imported", why_imported=why, imported=_imported(child, request))

    def _seen_as(self, place: str) -> str | None:
        return root.image_of(place, self._settings) if place else None

    def load_packages(self, image: Image, runtime: Runtime, memory_mb: int, network: Network) -> None:
        """Have a process import what the image declares, for runs to come. Raises SandboxError, OSError."""
        key = key_of_image(image, self._place_of(image), runtime, memory_mb, network)
        self._image_templates.wanted(replace(key, preload=self._preloads.of(key, image)))

    async def _take_forked(self, request: RunRequest, key: TemplateKey) -> Child | None:
        """A process with the packages loaded; None where there is none to fork from."""
        if self._image_templates.use(key) is None:
            return None
        try:
            return await self._take(request, key)
        except SandboxError as error:
            self._image_templates.failed(key, str(error))
            return None

    async def _start_image_template(self, key: TemplateKey, request: RunRequest | None) -> TemplateProcess:
        limits, loads = self._image_limits, request is not None
        node = self._node.template_command(key.heap, key.preload, loads=loads) if key.runtime == "node" else []
        taken = self._users_of_images.values()
        number = next(n for n in range(USERS_OF_IMAGES, RANGE - 1) if n not in taken)
        uid = None if self._uids is None else self._uids.base + number
        image = ImageSettings(
            *(key.image, list(key.preload), node, loads, key.network == "open"),
            *(uid, limits.each_mb * MIB, limits.import_seconds),
        )
        settings = replace(self._settings, mode="user_namespace", base_uid=None, image=image)
        process = TemplateProcess(settings, self._reaped, lambda number, size: None, lambda number, why: None)
        self._users_of_images[process] = number
        code = None if request is None else code_for_template(request)
        try:
            await process.start(limits.import_seconds + PATIENCE_OF_IMAGES, code)
        except BaseException:
            self._image_template_ended(process)
            raise
        return process

    def _image_template_ended(self, process: TemplateProcess) -> None:
        del self._users_of_images[process]
        for run in list(process.runs):
            self._reaped(run)

    # Children

    def _place_of(self, image: Image | None) -> str:
        """The path of an image below the folder of images; "" for none. Raises SandboxError."""
        if image is None:
            return ""
        if self._images is None:
            raise SandboxError("This sandbox was made without a folder for images, so no run can have packages.")
        path = Path(os.path.realpath(image.path))
        if self._images not in path.parents or not path.is_dir():
            raise SandboxError(f"The image {image.id} is not a folder below {self._images}: {image.path}")
        return str(path.relative_to(self._images))

    async def _take(self, request: RunRequest, template: TemplateKey | None = None) -> Child:
        kind = _kind_of(request, template)
        if standing_of_python(request.limits) != standing_of_python(Limits()):
            return await self._make(kind, request.limits)  # parked ones have other limits, whatever their runtime
        return self._parking.take(kind) or await self._make(kind, request.limits)

    def _is_usable(self, child: Child) -> bool:
        return child.alive and self._template_of[child.number].ready

    async def prepare(self, memory_mb: int) -> None:
        """Boot Node.js for runs with this limit: one started without the template cannot take over an attachment."""
        await self._node_templates.settled(memory_mb)

    async def _make(self, kind: Kind, limits: Limits, image: str = "") -> Child:
        if kind.template is not None:
            return await self._make_forked(kind.template, kind, limits)
        if kind.runtime == "node" and kind.network == "none":  # it has no other way to its database
            await self.prepare(limits.memory_mb)
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            template = await self._living_template(deadline)
            try:
                return await self._make_with(template, kind, limits, image)
            except SandboxError:
                if not template.gone.is_set():
                    raise

    async def _make_forked(self, key: TemplateKey, kind: Kind, limits: Limits) -> Child:
        template = self._image_templates.use(key)
        if template is None:
            raise SandboxError("the process that has imported these packages has ended")
        return await self._make_with(template.process, kind, limits, "", template)

    async def _living_template(self, deadline: float) -> TemplateProcess:
        """The template; one that ended is replaced in a moment."""
        while self._template is None or not self._template.ready:
            if asyncio.get_running_loop().time() > deadline:
                raise SandboxError("The sandbox's template ended and does not start again.")
            await asyncio.sleep(RESPAWN_SECONDS / 10)
        return self._template

    async def _make_with(
        self,
        template: TemplateProcess,
        kind: Kind,
        limits: Limits,
        image: str,
        with_packages: ImageTemplate | None = None,
    ) -> Child:
        while not self._free_slots:
            self._slot_freed.clear()
            await self._slot_freed.wait()
        self._last_run += 1
        run = self._last_run
        self._slot_of[run] = slot = self._free_slots.pop()
        self._template_of[run] = template
        child = Child(run, slot)
        order = (
            self._order(kind, run, slot, limits, image)
            if with_packages is None
            else SpawnOrder(run, slot, [], 0, kind.network == "open", _standing_with(with_packages, kind, limits))
        )
        spawning = asyncio.ensure_future(self._spawn(template, order, child))
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

    def _order(self, kind: Kind, run: int, slot: int, limits: Limits, image: str) -> SpawnOrder:
        is_open = kind.network == "open"
        if kind.runtime == "python":
            return SpawnOrder(run, slot, [], 0, is_open, standing_of_python(limits), image)
        if (ready := self._node_templates.template_for(limits.memory_mb)) is not None:
            node_template, data_bytes = ready
            return SpawnOrder(run, slot, [], node_template, is_open, standing_of_node(limits, data_bytes), image)
        return SpawnOrder(
            run, slot, self._node.command(limits.memory_mb), 0, is_open, standing_of_node(limits, None), image
        )

    def _reaped(self, run: int) -> None:
        slot = self._slot_of.pop(run, None)
        self._template_of.pop(run, None)
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
            images=str(self._images or ""),
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
        self._parking.close_those(lambda kind: kind.template is None)
        self._node_templates.all_gone()
        if self._template is not None:
            await self._template.close()
            for run in list(self._template.runs):
                self._reaped(run)
            self._template = None

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

    def _sweep(self) -> None:
        """Remove what an earlier sandbox that crashed has left."""
        assert self._run_dir is not None
        for left in self._run_dir.glob("run-*"):
            workspaces.remove(str(left))


def _kind_of(request: RunRequest, template: TemplateKey | None = None) -> Kind:
    memory_mb = 0 if request.runtime == "python" else request.limits.memory_mb
    return Kind(request.runtime, memory_mb, request.network, template)


def _imported(child: Child, request: RunRequest) -> tuple[str, ...]:
    return imported_by(child.imported, request.runtime, request.image.path) if request.image else ()


def _standing_with(template: ImageTemplate, kind: Kind, limits: Limits) -> StandingLimits:
    if kind.runtime == "python":
        return standing_of_python(limits)
    return standing_of_node(limits, template.data_bytes)


def _reason(error: RunError | None) -> str:
    return "" if error is None else f"{error.type}: {error.message}"


def _failed(message: str) -> RunOutcome:
    return RunOutcome("error", None, None, RunError("sandbox_failed", message), [], 0, 0, 0)
