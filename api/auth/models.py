"""Logging in, as HTTP shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.http.models import Model, Text

Email = Annotated[Text, Field(min_length=3, max_length=254)]
Password = Annotated[Text, Field(min_length=1, max_length=1024)]
RefreshToken = Annotated[
    Text, Field(min_length=1, max_length=200, description="Refresh token of the login, or of the last refresh.")
]
ProjectReference = Annotated[Text, Field(min_length=1, max_length=100, description="Id or slug.")]


class Credentials(Model):
    """Credentials of a login, and the project to work in."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "ada@example.org", "password": "correct horse battery staple"}]}
    )

    email: Email
    password: Password
    project: Annotated[
        Text | None,
        Field(default=None, max_length=100, description="Id or slug of the project. Default: your oldest one."),
    ]


class PasswordChange(Credentials):
    """Credentials of a user, and a new password."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "email": "ada@example.org",
                    "password": "correct horse battery staple",
                    "new_password": "a longer one, with a staple",
                }
            ]
        }
    )

    new_password: Annotated[Text, Field(min_length=1, max_length=1024, description="At least 12 characters.")]


class Refresh(Model):
    """A refresh token to exchange."""

    refresh_token: RefreshToken
    project: Annotated[
        Text | None,
        Field(default=None, max_length=100, description="Id or slug of the project. Default: your oldest one."),
    ]


class Logout(Model):
    """The session to end, by any of its refresh tokens."""

    refresh_token: RefreshToken


class Acceptance(Model):
    """An invitation to accept."""

    token: Annotated[Text, Field(min_length=1, max_length=200, description="Token of the invitation.")]
    password: Annotated[
        Text,
        Field(
            min_length=1,
            max_length=1024,
            description="Password of your account, or, if you have none, a new one of at least 12 characters.",
        ),
    ]


class ProjectSwitch(Model):
    """The project to get a token for."""

    project: ProjectReference


class ProjectToken(BaseModel):
    """A token for the Authorization header. It expires with the one it was exchanged for."""

    token: str
    expires_at: datetime
    project_id: UUID


class Session(BaseModel):
    """A token for the Authorization header, and a refresh token for the next one."""

    token: str
    expires_at: datetime
    refresh_token: str = Field(description="Valid once, and for thirty days after the login at most.")
    project_id: UUID


class BrowserCredentials(Model):
    """Credentials of a browser's sign-in."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "ada@example.org", "password": "correct horse battery staple"}]}
    )

    email: Email
    password: Password


class LinkToUse(Model):
    """A sign-in link to use."""

    token: Annotated[
        Text, Field(min_length=1, max_length=200, description="What follows # in the link: it begins with zl_.")
    ]


class SignInLink(BaseModel):
    """A link that signs a browser in to the console once."""

    path: str = Field(description="Path of the link, with its token after the #, where servers do not log it.")
    expires_at: datetime


class PersonDetails(BaseModel):
    """A person."""

    id: UUID
    email: str


class ProjectOfPerson(BaseModel):
    """A project of a person."""

    id: UUID
    slug: str
    name: str
    role: str


class BrowserSession(BaseModel):
    """Who is signed in, until when, and what they may open."""

    user: PersonDetails
    expires_at: datetime
    projects: list[ProjectOfPerson] = Field(description="Oldest first.")
