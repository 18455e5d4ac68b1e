"""Where senders of webhooks post to."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath

from api.http.encodings import decompressed
from api.http.endpoints import problems
from api.http.hosts import project_of_host
from api.http.json_bodies import LARGEST_PAYLOAD
from api.http.operations import ReceiveWebhook
from api.http.problems import Problem, not_found
from api.http.targets import HOOK_SEGMENTS
from api.invoking.payloads import NULL, headers_of, payload_of, request_of, unparsed_reason
from api.invoking.request_headers import NO_PREFERENCE, traceparent_of
from api.invoking.response_headers import Site
from api.invoking.responses import ID_HEADER, public_response, respond
from api.webhooks.deliveries import Message, WebhookMessages
from api.webhooks.models import Accepted
from api.webhooks.signatures import secret_header_of, slack_challenge


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
    request: Request[Any, Any, State], hooks: NamedDependency[WebhookMessages], token: FromPath[str]
) -> Response[Any]:
    """Verifies the sender's signature, puts the message into the queue and answers at once. A message whose
    id was accepted before is not invoked again. With `"answer": "result"` it answers as the public route does."""
    if not token.isascii() or not token.isprintable():
        raise not_found("webhook")
    webhook = await hooks.find(token)
    if project_of_host(request) not in (None, webhook.project_id):
        raise not_found("webhook")
    body = await request.body()
    headers = headers_of(request)
    message_id = await hooks.verified_message_id(webhook, headers, body)
    challenge = slack_challenge(body) if webhook.preset == "slack" else None
    if challenge is not None:
        return Response({"challenge": challenge}, status_code=200)
    payload, unparsed = await _read(body, request)
    secret_header = secret_header_of(webhook.preset, webhook.signature_header, headers)
    shown = await request_of(request, "/", body, segments=HOOK_SEGMENTS, without=secret_header, unparsed=unparsed)
    message = Message(webhook, message_id, payload, shown, traceparent_of(request))
    if webhook.answer == "result":
        with_error_details = webhook.preset != "none" or webhook.public_errors
        site = Site(f"/hooks/{token}", own=project_of_host(request) is not None)
        return await respond(
            public_response,
            await hooks.accept_and_wait(message),
            NO_PREFERENCE,
            site,
            with_error_details=with_error_details,
        )
    id, new = await hooks.accept(message)
    return Response(Accepted(invocation_id=id, duplicate=not new), status_code=202, headers={ID_HEADER: str(id)})


async def _read(body: bytes, request: Request[Any, Any, State]) -> tuple[str, str | None]:
    """The payload, and why it is null: a sender does not repeat its message because we cannot read it."""
    content_type = request.headers.get("content-type", "")
    try:
        payload = await payload_of(await decompressed(body, request.headers.get("content-encoding", "")), content_type)
    except Problem as problem:
        return NULL, problem.detail
    return payload, unparsed_reason(payload, body, content_type)


router = Router("/", route_handlers=[receive], tags=["webhooks"], request_max_body_size=LARGEST_PAYLOAD)
