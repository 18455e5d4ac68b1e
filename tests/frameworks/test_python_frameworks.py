"""Applications of Python's web frameworks, unmodified, with the runtime of functions around them."""

from __future__ import annotations

import re

from tests.frameworks.pages import example
from tests.sdk.exchanges import ROOT, exchange

FORM = (
    b'--edge\r\ncontent-disposition: form-data; name="file"; filename="a.bin"\r\n'
    b"content-type: application/octet-stream\r\n\r\n\x00\xff\r\n--edge--\r\n"
)
MULTIPART = {"content-type": "multipart/form-data; boundary=edge", "content-length": str(len(FORM))}

FASTAPI = """
from contextlib import asynccontextmanager
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware

@asynccontextmanager
async def lifespan(app):
    print('up')
    yield {'pool': 'pool'}
    print('down')

app = FastAPI(lifespan=lifespan)

@app.middleware('http')
async def timing(request, call_next):
    response = await call_next(request)
    response.headers['x-middleware'] = 'yes'
    return response

@app.get('/users/{id}')
def user(id: int, request: Request, response: Response, tasks: BackgroundTasks):
    response.set_cookie('a', '1')
    response.set_cookie('b', '2')
    tasks.add_task(print, 'later')
    return {'id': id, 'url': str(request.url_for('user', id=id)), 'pool': request.state.pool,
            'project': request.state.zmesh.project_id[:4]}

@app.post('/upload')
async def upload(request: Request):
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return size

@app.get('/events')
async def events():
    async def pieces():
        import asyncio
        for n in range(3):
            yield f'data: {n}\\n\\n'
            await asyncio.sleep(0.02)
    return StreamingResponse(pieces(), media_type='text/event-stream')

@app.get('/broken')
def broken():
    raise LookupError('no')
"""
LITESTAR = """
import asyncio
from litestar import Litestar, get
from litestar.datastructures import Cookie
from litestar.response import Response, Stream

@get('/users/{id:int}')
async def user(id: int, scope: 'Scope') -> Response[dict]:
    body = {'id': id, 'project': scope['zmesh'].project_id[:4]}
    return Response(body, cookies=[Cookie('a', value='1'), Cookie('b', value='2')])

@get('/events')
async def events() -> Stream:
    async def pieces():
        for n in range(3):
            yield str(n)
            await asyncio.sleep(0.02)
    return Stream(pieces())

from litestar.types import Scope
app = Litestar([user, events])
"""
FLASK = """
import time
from flask import Flask, Response, jsonify, make_response, request, url_for

app = Flask(__name__)

@app.get('/users/<int:id>')
def user(id):
    project = request.environ['zmesh'].project_id[:4]
    answer = make_response({'id': id, 'url': url_for('user', id=id), 'project': project})
    answer.set_cookie('a', '1')
    answer.set_cookie('b', '2')
    return answer

@app.post('/upload')
def upload():
    return jsonify(list(request.files['file'].read()))

@app.get('/events')
def events():
    def pieces():
        for n in range(3):
            yield str(n)
    return Response(pieces(), mimetype='text/plain')
"""
DJANGO = """
import asyncio
import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path, reverse

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=['shop.example'], SECRET_KEY='x',
                   MIDDLEWARE=['django.middleware.common.CommonMiddleware'])

def user(request, id):
    project = request.scope['zmesh'].project_id[:4]
    answer = JsonResponse({'id': id, 'url': reverse('user', args=[id]), 'project': project})
    answer.set_cookie('a', '1')
    answer.set_cookie('b', '2')
    return answer

async def upload(request):
    return JsonResponse(list(request.FILES['file'].read()), safe=False)

async def events(request):
    async def pieces():
        for n in range(3):
            yield str(n)
            await asyncio.sleep(0.02)
    return StreamingHttpResponse(pieces())

urlpatterns = [path('users/<int:id>', user, name='user'), path('upload', upload), path('events', events)]
application = get_asgi_application()
"""


def cookies(headers: dict[str, list[str]]) -> list[str]:
    [lines] = [lines for name, lines in headers.items() if name.lower() == "set-cookie"]
    return [re.split("[=;]", line)[1] for line in lines]


def test_fastapi_answers_below_the_functions_path_and_works_on_in_the_background() -> None:
    answer = exchange("python", FASTAPI, target="/users/5")
    url = f"https://shop.example:8700{ROOT}/users/5"
    assert answer.json == {"id": 5, "url": url, "pool": "pool", "project": "0190"}
    assert (cookies(answer.headers), answer.headers["x-middleware"]) == (["1", "2"], "yes")
    assert [message for _, message in answer.ending.lines] == ["up", "later", "down"]


def test_fastapi_reads_and_sends_streams() -> None:
    assert exchange("python", FASTAPI, "POST", "/upload", body=b"x" * 300_000).json == 300_000
    answer = exchange("python", FASTAPI, target="/events")
    assert (answer.text, answer.pieces) == ("data: 0\n\ndata: 1\n\ndata: 2\n\n", 3)


def test_fastapi_answers_its_own_errors_and_the_log_has_those_of_its_code() -> None:
    answer = exchange("python", FASTAPI, target="/broken")
    assert (answer.status, answer.text) == (500, "Internal Server Error")
    assert "LookupError: no" in answer.logged


def test_litestar_answers_below_the_functions_path_and_streams() -> None:
    answer = exchange("python", LITESTAR, target="/users/5")
    assert (answer.json, sorted(cookies(answer.headers))) == ({"id": 5, "project": "0190"}, ["1", "2"])
    streamed = exchange("python", LITESTAR, target="/events")
    assert (streamed.text, streamed.pieces) == ("012", 3)


def test_flask_answers_below_the_functions_path() -> None:
    answer = exchange("python", FLASK, target="/users/5")
    assert answer.json == {"id": 5, "url": f"{ROOT}/users/5", "project": "0190"}
    assert (cookies(answer.headers), answer.pieces) == (["1", "2"], 1)


def test_flask_reads_uploads_and_streams() -> None:
    assert exchange("python", FLASK, "POST", "/upload", body=FORM, headers=MULTIPART).json == [0, 255]
    streamed = exchange("python", FLASK, target="/events")
    assert (streamed.text, streamed.pieces) == ("012", 3)


def test_django_answers_below_the_functions_path() -> None:
    answer = exchange("python", DJANGO, target="/users/5")
    assert answer.json == {"id": 5, "url": f"{ROOT}/users/5", "project": "0190"}
    assert cookies(answer.headers) == ["1", "2"]


def test_django_reads_uploads_and_streams() -> None:
    assert exchange("python", DJANGO, "POST", "/upload", body=FORM, headers=MULTIPART).json == [0, 255]
    streamed = exchange("python", DJANGO, target="/events")
    assert (streamed.text, streamed.pieces) == ("012", 3)


def test_the_examples_of_the_guide_answer() -> None:
    answer = exchange("python", example("greet-fastapi/main.py"), target="/users/5")
    assert (answer.json["id"], answer.logged) == (5, "info looked at 5")
    assert exchange("python", example("greet-flask/main.py"), target="/hello?name=Ada").json["hello"] == "Ada"
