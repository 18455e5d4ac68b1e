"""Invocations: inserted together with those of other callers, then awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from uuid import UUID

from api.auth.credentials import function_disabled
from api.batching import Batcher
from api.database import Database
from api.http.problems import Problem, not_found
from api.invoking.calls import AssumptionFailed, Call, CallResult, default_wait, just_queued, new_id
from api.invoking.inserting import Inserts
from api.invoking.limits import Limits
from api.invoking.streams import Reader, ResponseStream, Streams
from api.invoking.waiting import Future, Replies
from observing.events import InvocationAccepted
from observing.logs import invocation_id
from observing.stream import emit
from sql import catalog, invocations
from sql.catalog import FunctionName
from sql.errors import NotFound, Unavailable
from sql.invocations import Delivery, InvocationState, NewInvocation, Options
from sql.streams import StreamPart


def _result(future: Future) -> InvocationState | None:
    return future.result() if future.done() else None


def _size_of(invocation: NewInvocation) -> int:
    return len(invocation.payload) + len(invocation.request or "")


class Invoker:
    """Turns calls into rows and waits for their ends; it never runs anything."""

    def __init__(self, database: Database, replies: Replies, streams: Streams, limits: Limits) -> None:
        self._database = database
        self._replies = replies
        self._streams = streams
        self._limits = limits
        self._inserts = Inserts(self._insert, lambda invocation: invocation.project_id, _size_of)
        self._states: Batcher[UUID, InvocationState | None] = Batcher(self._read_states)
        self._deliveries = Inserts(
            self._insert_deliveries,
            lambda delivery: delivery.invocation.project_id,
            lambda delivery: _size_of(delivery.invocation),
        )

    async def invoke(self, call: Call) -> CallResult:
        """Accept a call durably, then wait as long as its caller wants to. Raises Problem, DomainError, or
        AssumptionFailed: then nothing was accepted."""
        await self._limits.admit_job(call.project_id)
        waits = call.wait_seconds > 0
        options = call.options
        if options.max_attempts is None and not call.is_for_later:
            options = replace(options, max_attempts=1)
        invocation = NewInvocation(
            id=new_id(),
            project_id=call.project_id,
            function=call.function,
            payload=call.payload,
            request=call.request,
            source="api",
            options=options,
            reply_channel=self._reply_channel(call, options),
            idempotency_key=call.idempotency_key,
            idempotency_scope=call.idempotency_scope,
            traceparent=call.traceparent,
            assumed=call.assumed,
        )
        with ExitStack() as until:
            future = until.enter_context(self._replies.expecting(invocation.id))
            reader = until.enter_context(self._streams.reading(invocation.id))
            try:
                id = await self._accept(invocation)
            except NotFound as error:  # the function was there; what the options ask of it is not
                raise Problem(404, "version_not_found", error.message, error.hint) from error
            invocation_id.set(str(id))
            if id == invocation.id:
                emit(InvocationAccepted(id, "api", waits))
                if not waits:
                    return CallResult(just_queued(id), replayed=False)
                first = await self._wait_for_either(future, reader, call.wait_seconds)
                if first:
                    streaming = ResponseStream(self._streams, reader, future, first, until.pop_all())
                    return CallResult(just_queued(id), replayed=False, streaming=streaming)
                return CallResult(_result(future) or await self._state_of(id), replayed=False)
        return await self._result_of_earlier_call(id, call.wait_seconds)

    async def _result_of_earlier_call(self, id: UUID, seconds: float) -> CallResult:
        with self._replies.expecting(id) as future:
            if seconds > 0:
                await self._database.run_idempotent(lambda c: invocations.await_end(c, id, self._replies.channel))
            self._replies.check(id)
            answer = await self._wait(future, seconds)
            return CallResult(answer or await self._state_of(id), replayed=True)

    def _reply_channel(self, call: Call, options: Options) -> str | None:
        if call.wait_seconds <= 0:
            return None
        # A second attempt could not take back what the first one has sent, so only what runs once is streamed.
        streams = call.streams and options.max_attempts == 1
        return self._replies.stream_channel if streams else self._replies.channel

    async def deliver_and_wait(self, delivery: Delivery, timeout_ms: int) -> CallResult:
        """Accept a webhook's message and wait for its end, or for that of the same message before."""
        seconds = default_wait(timeout_ms)
        invocation = replace(delivery.invocation, reply_channel=self._replies.channel, options=Options(max_attempts=1))
        with self._replies.expecting(invocation.id) as future:
            id, new = await self._deliver(replace(delivery, invocation=invocation), awaited=True)
            if id == invocation.id:
                answer = await self._wait(future, seconds)
                return CallResult(answer or await self._state_of(id), replayed=not new)
        return await self._result_of_earlier_call(id, seconds)

    async def deliver(self, delivery: Delivery) -> tuple[UUID, bool]:
        """Accept a webhook's message durably; returns its invocation, and whether the message is new."""
        return await self._deliver(delivery, awaited=False)

    async def _deliver(self, delivery: Delivery, *, awaited: bool) -> tuple[UUID, bool]:
        id, new = await self._insert_or_find(delivery)
        invocation_id.set(str(id))
        if new:
            emit(InvocationAccepted(id, "webhook", awaited))
        return id, new

    async def _insert_or_find(self, delivery: Delivery) -> tuple[UUID, bool]:
        await self._limits.admit_job(delivery.invocation.project_id)
        id = delivery.invocation.id
        if await self._deliveries.ask(delivery):
            return id, True
        if delivery.message_id is not None:
            message = (delivery.webhook_id, delivery.message_id)
            before = await self._database.read(lambda c: invocations.delivered_before(c, *message))
            if before is not None:
                return before, before == id
        await self._explain(delivery.invocation)
        return id, True

    async def _accept(self, invocation: NewInvocation) -> UUID:
        """The id of this invocation, or of the earlier one with the same idempotency key."""
        # A key waits for any transaction that has inserted it: then the calls of its own project do, and no others.
        if await self._inserts.ask(invocation, apart=invocation.idempotency_key is not None):
            return invocation.id
        if invocation.assumed is not None:
            if await self._is_there(invocation.id):
                return invocation.id
            raise AssumptionFailed
        if invocation.idempotency_key is not None:
            known = await self._database.read(lambda c: invocations.known_by_key(c, invocation))
            if known is not None and not known.same:
                raise Problem(
                    422,
                    "idempotency_key_reused",
                    "This Idempotency-Key was used for a different request to this function.",
                    "Use a new key for each new request, and repeat a key only with the same request.",
                )
            if known is not None:
                return known.id
        await self._explain(invocation)
        return invocation.id

    async def _explain(self, invocation: NewInvocation) -> None:
        """Raises the reason why an invocation was not inserted; returns if an earlier attempt did insert it."""
        if await self._is_there(invocation.id):
            return
        name = FunctionName(invocation.project_id, invocation.function)
        function = await self._database.read(lambda c: catalog.find_function(c, name))
        if function is None:
            raise not_found("function", invocation.function)
        if not function.enabled:
            raise function_disabled(function.slug)
        raise Problem(
            409, "conflict", "The function changed, or this key's first call is no longer kept.", "Try again."
        )

    async def _is_there(self, id: UUID) -> bool:
        """Whether an earlier try of ours has inserted it, whose answer was lost."""
        return bool(await self._database.read(lambda c: invocations.states(c, [id])))

    @staticmethod
    async def _wait(future: Future, seconds: float) -> InvocationState | None:
        await asyncio.wait([future], timeout=seconds)
        return _result(future)

    async def _wait_for_either(self, future: Future, reader: Reader, seconds: float) -> list[StreamPart]:
        """The first pieces of a streamed response; nothing if the invocation ends first, or time is up."""
        deadline = asyncio.get_running_loop().time() + seconds
        news = asyncio.create_task(reader.news.wait())
        try:
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                either: list[asyncio.Future[Any]] = [future, news]
                await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if future.done() or not news.done():
                    break
                if first := await self._streams.take(reader.id):
                    return first
                reader.news.clear()
                news = asyncio.create_task(reader.news.wait())
            if news.done():
                self._streams.close(reader.id)  # the end has all of it
            return []
        finally:
            news.cancel()

    async def _state_of(self, id: UUID) -> InvocationState:
        """The current state of an invocation."""
        try:
            return await self._states.ask(id) or just_queued(id)
        except Unavailable:
            return just_queued(id)  # it was accepted, whatever the database is doing now

    async def _read_states(self, ids: list[UUID]) -> list[InvocationState | None]:
        answers = await self._database.read(lambda c: invocations.states(c, ids))
        found = {answer.id: answer for answer in answers}
        return [found.get(id) for id in ids]

    async def _insert(self, batch: Sequence[NewInvocation]) -> list[bool]:
        new = await self._database.run_idempotent(lambda c: invocations.insert(c, batch))
        return [invocation.id in new for invocation in batch]

    async def _insert_deliveries(self, batch: Sequence[Delivery]) -> list[bool]:
        new = await self._database.run_idempotent(lambda c: invocations.insert_deliveries(c, batch))
        return [delivery.invocation.id in new for delivery in batch]
