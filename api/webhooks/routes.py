"""Where senders of webhooks post to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from litestar import Request, Response, Router, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath

from api.auth.credentials import client_of
from api.http.endpoints import problems
from api.http.hosts import project_of_host
from api.http.json_bodies import LARGEST_PAYLOAD
from api.http.operations import ReceiveWebhook
from api.http.problems import Problem, not_found
from api.http.targets import HOOK_SEGMENTS
from api.invoking.calls import new_id
from api.invoking.payloads import headers_of, request_of
from api.invoking.request_headers import NO_PREFERENCE, traceparent_of
from api.invoking.response_headers import Site
from api.invoking.responses import ID_HEADER, public_response, respond
from api.webhooks.deliveries import Message, WebhookMessages, read_message
from api.webhooks.models import Accepted
from api.webhooks.recording import LARGEST_BODY_KEPT, RequestLog
from api.webhooks.signatures import possible_secret_headers, secret_header_of, slack_challenge
from sql.webhooks import NewRequest, WebhookTarget

AnyRequest = Request[Any, Any, State]


@post(
    "/hooks/{token:str}",
    operation_id="receiveWebhook",
    operation_class=ReceiveWebhook,
    summary="Receive a webhook's message",
    status_code=202,
    responses={
        200: ResponseSpec(
            dict[str, str],
            description="Response to Slack's URL challenge, or the function's, if the webhook's answer is result.",
            generate_examples=False,
        ),
        **problems(404, 413, 422, 429),
    },
)
async def receive(
    request: AnyRequest,
    hooks: NamedDependency[WebhookMessages],
    log: NamedDependency[RequestLog],
    token: FromPath[str],
) -> Response[Any]:
    """Verifies the sender's signature, puts the message into the queue and answers at once. A message whose
    id was accepted before is not invoked again. With `"answer": "result"` it answers as the public route does."""
    if not token.isascii() or not token.isprintable():
        raise not_found("webhook")
    webhook = await hooks.find(token)
    if project_of_host(request) not in (None, webhook.project_id):
        raise not_found("webhook")
    body = await request.body()
    try:
        return await _accept(request, hooks, log, webhook, body)
    except Problem as problem:
        await _record_refusal(request, log, webhook, body, problem)
        raise


async def _accept(
    request: AnyRequest, hooks: WebhookMessages, log: RequestLog, webhook: WebhookTarget, body: bytes
) -> Response[Any]:
    headers = headers_of(request)
    message_id = await hooks.verified_message_id(webhook, headers, body)
    challenge = slack_challenge(body) if webhook.preset == "slack" else None
    if challenge is not None:
        return Response({"challenge": challenge}, status_code=200)
    payload, unparsed = await read_message(headers, body)
    secret = secret_header_of(webhook.preset, webhook.signature_header, headers)
    without = () if secret is None else (secret,)
    shown = await request_of(request, "/", body, segments=HOOK_SEGMENTS, without=without, unparsed=unparsed)
    message = Message(webhook, message_id, payload, shown, traceparent_of(request))
    if webhook.answer == "result":
        return await _accept_and_wait(request, hooks, log, message, len(body))
    id, new = await hooks.accept(message)
    _record(request, log, message, len(body), id, new=new, status=202)
    return Response(Accepted(invocation_id=id, duplicate=not new), status_code=202, headers={ID_HEADER: str(id)})


async def _accept_and_wait(
    request: AnyRequest, hooks: WebhookMessages, log: RequestLog, message: Message, body_size: int
) -> Response[Any]:
    webhook = message.webhook
    with_error_details = webhook.preset != "none" or webhook.public_errors
    site = Site(f"/hooks/{webhook.token}", own=project_of_host(request) is not None)
    result = await hooks.accept_and_wait(message)
    answer = await respond(public_response, result, NO_PREFERENCE, site, with_error_details=with_error_details)
    status = answer.status_code or 200
    _record(request, log, message, body_size, result.state.id, new=not result.replayed, status=status)
    return answer


def _record(
    request: AnyRequest, log: RequestLog, message: Message, body_size: int, id: UUID, *, new: bool, status: int
) -> None:
    if log.has_room(message.webhook.id):
        verdict = "accepted" if new else "duplicate"
        recorded = NewRequest(new_id(), message.webhook.id, id, body_size, status, verdict, client_of(request))
        log.record(replace(recorded, message_id=message.id))


async def _record_refusal(
    request: AnyRequest, log: RequestLog, webhook: WebhookTarget, body: bytes, problem: Problem
) -> None:
    if not log.has_room(webhook.id):
        return
    secrets = possible_secret_headers(webhook.preset, webhook.signature_header)
    kept = body if len(body) <= LARGEST_BODY_KEPT else b""
    shown = await request_of(request, "/", kept, segments=HOOK_SEGMENTS, without=secrets)
    log.record(
        NewRequest(
            id=new_id(),
            webhook_id=webhook.id,
            invocation_id=None,
            body_size=len(body),
            status_code=problem.status,
            verdict="refused",
            client=client_of(request),
            code=problem.code,
            detail=problem.detail,
            request=shown,
        )
    )


router = Router("/", route_handlers=[receive], tags=["webhooks"], request_max_body_size=LARGEST_PAYLOAD)
