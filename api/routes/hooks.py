"""Where senders of webhooks post to."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath

from api.answers import ID_HEADER
from api.hooks import Hooks
from api.json_bodies import LARGEST_PAYLOAD
from api.models.webhooks import Accepted
from api.payloads import headers_of, payload_of, request_of, traceparent_of
from api.problems import not_found
from api.routes.common import problems
from api.routes.documented import ReceiveHook
from api.signatures import slack_challenge


@post(
    "/hooks/{token:str}",
    operation_id="receiveWebhook",
    operation_class=ReceiveHook,
    summary="Receive a webhook's message",
    status_code=202,
    responses={
        200: ResponseSpec(dict[str, str], description="Slack's URL challenge, answered.", generate_examples=False),
        **problems(404, 413, 422, 429),
    },
)
async def receive(
    request: Request[Any, Any, State], hooks: NamedDependency[Hooks], token: FromPath[str]
) -> Response[Accepted]:
    """Verifies the sender's signature, puts the message into the queue and answers at once. A message whose
    id was accepted before is not invoked again."""
    if not token.isascii() or not token.isprintable():
        raise not_found("webhook")
    webhook = await hooks.addressed(token)
    body = await request.body()
    message_id = hooks.verified_message_id(webhook, headers_of(request), body)
    challenge = slack_challenge(body) if webhook.preset == "slack" else None
    if challenge is not None:
        return Response({"challenge": challenge}, status_code=200)  # type: ignore[arg-type]
    payload = payload_of(body, request.headers.get("content-type", ""))
    id, new = await hooks.accept(webhook, message_id, payload, request_of(request, "/", body), traceparent_of(request))
    return Response(Accepted(invocation_id=id, duplicate=not new), status_code=202, headers={ID_HEADER: str(id)})


router = Router("/", route_handlers=[receive], tags=["webhooks"], request_max_body_size=LARGEST_PAYLOAD)
