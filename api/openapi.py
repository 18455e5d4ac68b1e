"""Makes the OpenAPI document. Endpoints come from Litestar, schemas from pydantic, which knows all rules of our models.

python -m api.openapi writes the file that servers serve: making the document takes a sixth of a second of the
interpreter's time, and no request should wait for that.
"""

from __future__ import annotations

import json
from typing import Any

from litestar import Litestar
from litestar._openapi.plugin import OpenAPIPlugin  # what Litestar.openapi_schema itself asks
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.serialization import encode_json
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.app import Parts, create_app
from api.auth.credentials import DEPLOY_KEYS
from api.auth.models import (
    Acceptance,
    BrowserCredentials,
    BrowserSession,
    Credentials,
    LinkToUse,
    Logout,
    ProjectSwitch,
    ProjectToken,
    Refresh,
    Session,
    SignInLink,
)
from api.http.endpoints import API_KEY
from api.http.json_bodies import UPLOADS
from api.http.middleware import SESSION_COOKIE
from api.http.multipart import JSON_PART
from api.http.paging import Page
from api.http.problem_models import ProblemDetails
from api.invoking.models import (
    Envelope,
    InvocationDetails,
    InvocationSummary,
    NumberedLogLine,
    Retried,
    RetryRequest,
)
from api.management.models.builds import BuildDetails, BuildLogLine, BuildToRequest, BundleChunk
from api.management.models.callbacks import NewSigningSecret, SigningRotation, SigningSecretDetails
from api.management.models.changes import ChangeDetails, ChangeToPassOn
from api.management.models.functions import DraftToTest, FunctionChange, FunctionDetails, FunctionToCreate
from api.management.models.health import Health
from api.management.models.live import QueueDetails
from api.management.models.projects import (
    InvitationDetails,
    InvitationToCreate,
    KeyDetails,
    KeyToCreate,
    MemberChange,
    MemberDetails,
    NewInvitationDetails,
    NewKeyDetails,
    ProjectChange,
    ProjectDatabaseDetails,
    ProjectDetails,
    ProjectToCreate,
)
from api.management.models.registries import RegistryDetails, RegistryToSet
from api.management.models.schedules import (
    ScheduleChange,
    ScheduleDetails,
    SchedulePreview,
    ScheduleRunDetails,
    ScheduleStarted,
    ScheduleToCreate,
)
from api.management.models.secrets import SecretDetails, SecretToSet
from api.management.models.statistics import ErrorKinds, FunctionStatistics, FunctionSummary, ProjectStatistics, Usage
from api.management.models.versions import (
    AliasDetails,
    AliasToSet,
    Deployment,
    DeploymentDetails,
    FunctionVersion,
    VersionDiff,
)
from api.pages.reference import DOCUMENT, TITLE
from api.settings import Settings
from api.webhooks.models import (
    Accepted,
    DeliveryDetails,
    DeliverySummary,
    NewWebhookDetails,
    Rotation,
    TestMessage,
    WebhookChange,
    WebhookDetails,
    WebhookToCreate,
)
from support.sealing import Sealer

# In words: of a body with a second media type, openapi-python-client makes a module that cannot be imported.
UPLOAD = (
    f"JSON, or multipart/form-data: a part `{JSON_PART}` with the same JSON object without `files`, and a part for "
    "each file, whose name is the path of the file."
)
REQUEST_MODELS: list[type[BaseModel]] = [
    *(FunctionToCreate, FunctionChange, ScheduleToCreate, ScheduleChange, WebhookToCreate, WebhookChange),
    *(SigningRotation, Rotation, RetryRequest, Credentials, AliasToSet, Deployment, ChangeToPassOn),
    *(SecretToSet, RegistryToSet, BrowserCredentials, LinkToUse),
    *(TestMessage, DraftToTest, BuildToRequest, BundleChunk),
    *(
        Refresh,
        ProjectSwitch,
        Logout,
        Acceptance,
        ProjectToCreate,
        ProjectChange,
        MemberChange,
        InvitationToCreate,
        KeyToCreate,
    ),
]
RESPONSE_MODELS: list[type[BaseModel]] = [
    *(SigningSecretDetails, NewSigningSecret),
    *(FunctionDetails, FunctionVersion, InvocationDetails, InvocationSummary, NumberedLogLine, ScheduleDetails),
    *(WebhookDetails, NewWebhookDetails, Envelope, Accepted, Session, Health, ProblemDetails),
    *(Retried, AliasDetails, Page[AliasDetails], DeploymentDetails, VersionDiff),
    *(Page[FunctionDetails], Page[FunctionVersion], Page[InvocationSummary], Page[NumberedLogLine]),
    *(Page[ScheduleDetails], Page[WebhookDetails]),
    *(ChangeDetails, Page[ChangeDetails]),
    *(SecretDetails, Page[SecretDetails]),
    *(RegistryDetails, Page[RegistryDetails]),
    *(ProjectToken, ProjectDatabaseDetails, BrowserSession, SignInLink),
    *(BuildDetails, Page[BuildDetails], BuildLogLine),
    *(ProjectDetails, MemberDetails, InvitationDetails, NewInvitationDetails, KeyDetails, NewKeyDetails),
    *(Page[ProjectDetails], Page[MemberDetails], Page[InvitationDetails], Page[KeyDetails]),
    *(FunctionStatistics, ProjectStatistics, Page[FunctionSummary], ErrorKinds, QueueDetails, Usage),
    *(DeliverySummary, DeliveryDetails, Page[DeliverySummary]),
    *(SchedulePreview, ScheduleStarted, ScheduleRunDetails, Page[ScheduleRunDetails]),
]


def make_document() -> bytes:
    """The document as it is sent, one value per line; no database is needed."""
    settings = Settings(
        database_url="postgresql://127.0.0.1:1/nowhere", jwt_secret_key="x" * 32, secret_key=Sealer.new_key()
    )
    app = create_app(Parts.of(settings), _config())
    document = app.plugins.get(OpenAPIPlugin).provide_openapi_schema()
    components = document["components"]
    schemas = {**components["schemas"], **_schemas()}
    for operation in _operations(app, document, UPLOADS):
        operation["requestBody"]["description"] = UPLOAD
    for operation in _operations(app, document, DEPLOY_KEYS):
        operation["security"] = [*operation["security"], *API_KEY]
    document = {**document, "components": {**components, "schemas": schemas}}
    plain = json.loads(encode_json(document))
    return json.dumps(plain, ensure_ascii=False, indent=0, separators=(",", ":")).encode() + b"\n"


def _operations(app: Litestar, document: dict[str, Any], option: str) -> list[dict[str, Any]]:
    """The operations of the document whose handlers have an option."""
    ids = {
        handler.operation_id
        for route in app.routes
        for handler in getattr(route, "route_handlers", [])
        if option in handler.opt
    }
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    return [one for one in operations if isinstance(one, dict) and one.get("operationId") in ids]


def _schemas() -> dict[str, Any]:
    def modes(models: list[type[BaseModel]], mode: JsonSchemaMode) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
        return [(model, mode) for model in models]

    _, document = models_json_schema(
        [*modes(REQUEST_MODELS, "validation"), *modes(RESPONSE_MODELS, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = document["$defs"]
    return schemas


def _config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title=TITLE,
        path="/of-litestar",  # pages that nobody opens: ours are at /schema
        version="1",
        description=(
            "Functions, their versions and invocations. Failures are RFC 9457 problem details with stable codes."
        ),
        use_handler_docstrings=True,
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(
                    type="http", scheme="bearer", bearer_format="JWT", description="A token of POST /auth/login."
                ),
                "cookie": SecurityScheme(
                    type="apiKey",
                    name=SESSION_COOKIE,
                    security_scheme_in="cookie",
                    description="Session of a browser (over TLS: __Secure-zmesh-console), for paths below /console.",
                ),
                "apiKey": SecurityScheme(type="apiKey", name="x-api-key", security_scheme_in="header"),
                "bearerKey": SecurityScheme(
                    type="http", scheme="bearer", description="An API key (zb_…) in the Authorization header."
                ),
            }
        ),
    )


if __name__ == "__main__":
    DOCUMENT.write_bytes(make_document())
