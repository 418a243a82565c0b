"""The addresses of the sheet page: three pages, and what their scripts ask for. Thin: each calls one method.

Changes are POST requests with JSON, which `pelagia_desk.guard` lets pass only from a page of this desk. A request
that must not be done is answered with 409 and one sentence for the person.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pelagia.errors import StudioError
from pelagia.images.preprocess import ImageError
from pelagia_desk.layout import Layout
from pelagia_desk.pictures import Pictures
from pelagia_desk.sheets.crops import SORTS
from pelagia_desk.sheets.grow import Grower
from pelagia_desk.sheets.sender import Sender
from pelagia_desk.sheets.work import Refusal, Work

ORDERS = {"similar": "similarity", **{name: title for name, (title, _) in SORTS.items()}, "size": "size, largest first"}
ORDERS["cluster"] = "cluster"
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
Answer = Callable[[Mapping[str, Any]], dict[str, Any]]


class SheetRoutes:
    """The routes of the sheet page."""

    def __init__(self, work: Work, pictures: Pictures, sender: Sender, layout: Layout) -> None:
        self._work, self._pictures, self._sender, self._layout = work, pictures, sender, layout
        self._grower = Grower(work)

    def routes(self) -> list[Route]:
        """For Starlette."""
        posts: dict[str, Answer] = {
            "/sheets/next": self._next,
            "/sheets/accept": self._accept,
            "/sheets/name": self._name,
            "/undo": lambda said: self._work.undo(),
            "/grow/start": self._start,
            "/grow/answer": self._answer,
            "/grow/accept": self._accept_grown,
        }
        return [
            Route("/", self._overview),
            Route("/sheet", self._sheet_page),
            Route("/grow", self._grow_page),
            Route("/status", self._status),
            Route("/crops/{task:int}", self._crop),
            Route("/crops/{task:int}/large", self._large),
            *(Route(path, _posted(answer), methods=["POST"]) for path, answer in posts.items()),
        ]

    def _next(self, said: Mapping[str, Any]) -> dict[str, Any]:
        work = self._work
        sheet = work.next_sheet(
            str(said["tab"]),
            str(said["group"]),
            str(said["sort"]),
            str(said["station"]),
            int(said["count"]),
            [str(one) for one in said["open"]],
        )
        return work.sheet_as_json(sheet, str(said["station"]))

    def _accept(self, said: Mapping[str, Any]) -> dict[str, Any]:
        displayed, odd = _tasks(said["displayed"]), _tasks(said["odd"])
        return self._work.accept(str(said["sheet"]), str(said["class"]), displayed, odd, float(said["seconds"]))

    def _name(self, said: Mapping[str, Any]) -> dict[str, Any]:
        return self._work.name(str(said["sheet"]), int(said["task"]), str(said["class"]), float(said["seconds"]))

    def _start(self, said: Mapping[str, Any]) -> dict[str, Any]:
        seed = None if said.get("seed") is None else int(said["seed"])
        only, station = said["only_suggested"] is True, str(said["station"])
        return self._grower.start(str(said["tab"]), str(said["class"]), seed, only, station, int(said["count"]))

    def _answer(self, said: Mapping[str, Any]) -> dict[str, Any]:
        displayed, odd, match = _tasks(said["displayed"]), _tasks(said["odd"]), said["match"] is True
        page, seconds = int(said["page"]), float(said["seconds"])
        return self._grower.answer(str(said["growth"]), page, displayed, odd, match, seconds)

    def _accept_grown(self, said: Mapping[str, Any]) -> dict[str, Any]:
        return self._grower.accept(str(said["growth"]), said["unseen"] is True, int(said["unseen_count"]))

    async def _overview(self, request: Request) -> Response:
        work, station = self._work, request.query_params.get("station", "")
        groups = await run_in_threadpool(work.groups, station)
        return self._layout.page(
            request,
            "overview.html",
            groups=groups,
            progress=work.progress(),
            station=station,
            stations=self._stations(),
            refused=work.journal.refused()[:50],
            left_out=work.left_out,
            predicted=work.predicted,
            moved=work.moved,
            measured=work.vectors.measured,
            from_model=work.vectors.from_model,
            without_vector=len(work.crops) - int(work.vectors.known.sum()) if work.vectors.from_model else 0,
            title_of=work.title_of,
        )

    async def _sheet_page(self, request: Request) -> Response:
        asked = request.query_params
        sort = asked.get("sort", "similar")
        data = self._data() | {
            "group": asked.get("group", ""),
            "sort": sort if sort in ORDERS else "similar",
            "station": asked.get("station", ""),
        }
        title = self._work.title_of(data["group"])
        return self._layout.page(
            request, "sheet.html", data=data, title=title, orders=ORDERS, stations=self._stations()
        )

    async def _grow_page(self, request: Request) -> Response:
        asked = request.query_params
        class_name, seed = asked.get("class", ""), asked.get("seed", "")
        data = self._data() | {
            "class": class_name,
            "seed": int(seed) if seed.isdecimal() else None,
            "station": asked.get("station", ""),
        }
        return self._layout.page(
            request, "grow.html", data=data, title=self._work.title_of(class_name), predicted=self._work.predicted
        )

    def _data(self) -> dict[str, Any]:
        """What the script of a page needs: the classes, with their titles and colors."""
        classes = self._work.classes
        return {"classes": [{"name": c.name, "title": c.title or c.name, "color": c.color or ""} for c in classes]}

    def _stations(self) -> list[str]:
        return sorted({crop.station for crop in self._work.crops if crop.station})

    async def _status(self, request: Request) -> Response:
        work = self._work
        answer = {
            "waiting": await run_in_threadpool(work.journal.waiting),
            "fault": self._sender.fault,
            "refused": len(await run_in_threadpool(work.journal.refused)),
            "done": sum(crop.label is not None for crop in work.crops),
            "total": len(work.crops),
        }
        return JSONResponse(answer)

    async def _crop(self, request: Request) -> Response:
        return await self._image(request, lambda source: self._pictures.picture(source).jpeg)

    async def _large(self, request: Request) -> Response:
        return await self._image(request, self._pictures.large)

    async def _image(self, request: Request, read: Callable[[Any], bytes]) -> Response:
        crop = self._work.by_task.get(int(request.path_params["task"]))
        if crop is None:
            return Response(status_code=404)
        try:
            data = await run_in_threadpool(read, crop.source)
        except (ImageError, StudioError):
            return Response(status_code=404)
        return Response(data, media_type="image/jpeg", headers=_FOREVER)


def _tasks(numbers: Any) -> list[int]:
    return [int(number) for number in numbers]


def _posted(answer: Answer) -> Callable[[Request], Any]:
    """The route of one change."""

    async def route(request: Request) -> Response:
        try:
            said = json.loads(await request.body())
            return JSONResponse(await run_in_threadpool(answer, said))
        except Refusal as refusal:
            return JSONResponse({"message": str(refusal)}, status_code=409)
        except StudioError as error:
            return JSONResponse({"message": str(error)}, status_code=503)
        except (ValueError, KeyError, TypeError, AttributeError):
            return JSONResponse({"message": "This request cannot be read. Nothing was written."}, status_code=400)

    return route
