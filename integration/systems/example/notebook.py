"""A small web service with a leak in it: notebooks, their notes, and a cache before the list.

`cache_by_url=True` is the leak: the list's address is everybody's, so everybody gets the first
reader's answer (it happened: a response cached on its URL alone, public incident of March 2026).
"""

import logging
from uuid import uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

log = logging.getLogger("notebook")


class Notebook:
    """Everything in memory: who is logged in, who has which books, and what is in them."""

    def __init__(self, *, cache_by_url: bool) -> None:
        self._cache_by_url = cache_by_url
        self._users: dict[str, str] = {}
        self._titles: dict[str, dict[str, str]] = {}
        self._notes: dict[str, list[str]] = {}
        self._lists: dict[tuple[str, str], list[str]] = {}
        self.app = Starlette(
            routes=[
                Route("/sessions", self._log_in, methods=["POST"]),
                Route("/books", self._create, methods=["POST"]),
                Route("/books", self._list),
                Route("/books/{book}/notes", self._write, methods=["POST"]),
                Route("/books/{book}/notes", self._read),
                Route("/total", self._total),
            ]
        )

    async def _log_in(self, request: Request) -> JSONResponse:
        token, user = uuid4().hex, uuid4().hex
        self._users[token], self._titles[user] = user, {}
        return JSONResponse({"token": token, "user": user, **await request.json()})

    async def _create(self, request: Request) -> JSONResponse:
        user, book = self._caller(request), uuid4().hex
        self._titles[user][book] = (await request.json())["title"]
        self._notes[book] = []
        self._lists.pop(self._cache_key(request, user), None)
        return JSONResponse({"book": book}, 201)

    async def _list(self, request: Request) -> JSONResponse:
        user = self._caller(request)
        key = self._cache_key(request, user)
        return JSONResponse(self._lists.setdefault(key, list(self._titles[user].values())))

    async def _write(self, request: Request) -> JSONResponse:
        book = self._own_book(request)
        self._notes[book].append((await request.json())["note"])
        return JSONResponse({"number": len(self._notes[book])}, 201)

    async def _read(self, request: Request) -> JSONResponse:
        return JSONResponse(self._notes[self._own_book(request)])

    async def _total(self, request: Request) -> JSONResponse:
        books = self._titles[self._caller(request)]
        return JSONResponse({"notes": sum(len(self._notes[book]) for book in books)})

    def _cache_key(self, request: Request, user: str) -> tuple[str, str]:
        return ("" if self._cache_by_url else user, request.url.path)

    def _caller(self, request: Request) -> str:
        user = self._users.get(request.headers.get("token", ""))
        if user is None:
            raise HTTPException(401)
        log.info("trace=%s user=%s", request.headers["traceparent"].split("-")[1], user)
        return user

    def _own_book(self, request: Request) -> str:
        book = str(request.path_params["book"])
        if book not in self._titles[self._caller(request)]:
            raise HTTPException(404)
        return book
