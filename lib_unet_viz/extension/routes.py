"""Routes of our own beside the webui's API: what a model has, VXA, a picture with its trace, edits of one.

They are there with `--api` only, and ask for the user and password of `--api-auth` as the webui's own do
(modules/api/api.py). Binary results are base64: pictures are PNG, numbers are safetensors.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from secrets import compare_digest
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from modules import shared

from lib_unet_viz.extension.schemas import (
    LARGEST,
    SMALLEST,
    EditRequest,
    EditResult,
    Layers,
    TraceRequest,
    TraceResult,
    VXARequest,
    VXAResult,
)
from lib_unet_viz.hosts.webui.loaded import NoModelError

PREFIX = "/unet-viz/v1"
_MOST_PROBLEMS, _LONGEST = 20, 2_000  # of an answer: entries, and characters of each


class Route(APIRoute):
    """Says what is wrong with a request without repeating it.

    FastAPI's own answer repeats NaN and halves of surrogate pairs, which JSON and UTF-8 cannot hold.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except RequestValidationError as error:
                problems = [_problem(each) for each in error.errors()[:_MOST_PROBLEMS]]
                raise HTTPException(status_code=422, detail=problems) from error
            except OverflowError as error:  # of pydantic 1, for whole numbers of hundreds of digits
                if "too large to convert to float" not in str(error):
                    raise
                raise HTTPException(status_code=422, detail="a number of the request is too large") from error
            except ValueError as error:  # of an answer that repeats a text; pydantic 2 has a kind of its own
                if "surrogates not allowed" not in str(error):
                    raise
                detail = "a text of the request holds half of a surrogate pair, which is no character"
                raise HTTPException(status_code=422, detail=detail) from error

        return answered


def _problem(error: Mapping[str, Any]) -> dict[str, Any]:
    """One of FastAPI's, without the value."""
    place = [part if isinstance(part, int) else _text(part) for part in error["loc"]]
    return {"loc": place, "msg": _text(error["msg"]), "type": error["type"]}


def _text(text: object) -> str:
    """A text as UTF-8 can hold it, cut where it is long."""
    return str(text)[:_LONGEST].encode("utf-8", "replace").decode()


def add(_: Any, app: FastAPI) -> None:
    """Add the routes to the webui's application; to be called by `on_app_started`."""
    if not shared.cmd_opts.api:
        return
    guarded = [Depends(_authorized)] if shared.cmd_opts.api_auth else []
    router = APIRouter(prefix=PREFIX, dependencies=guarded, tags=["U-Net Viz"], route_class=Route)
    router.add_api_route("/layers", layers, methods=["GET"], response_model=Layers)
    router.add_api_route("/vxa", look, methods=["POST"], response_model=VXAResult)
    router.add_api_route("/trace", trace, methods=["POST"], response_model=TraceResult)
    router.add_api_route("/edit", edit, methods=["POST"], response_model=EditResult)
    app.include_router(router)


def layers(
    width: int | None = Query(None, ge=SMALLEST, le=LARGEST, description="Of the picture, in pixels."),
    height: int | None = Query(None, ge=SMALLEST, le=LARGEST, description="Of the picture, in pixels."),
) -> Layers:
    """The blocks and attention layers of the loaded checkpoint, and their shapes for a picture's size
    (without one: the size that the checkpoint was trained on)."""
    with _for_people():
        from lib_unet_viz.extension import answers

        return answers.layers(width, height)


def look(request: VXARequest) -> VXAResult:
    """Visualize Cross-Attention: which parts of the picture the words of the prompt attend to."""
    with _for_people():
        from lib_unet_viz.extension import answers

        return answers.look(request)


def trace(request: TraceRequest) -> TraceResult:
    """Make one picture and record what the settings ask for."""
    with _for_people():
        from lib_unet_viz.extension import answers

        return answers.trace(request)


def edit(request: EditRequest) -> EditResult:
    """Edit a picture of one's own: it is inverted to noise, and sampled from there with other words."""
    with _for_people():
        from lib_unet_viz.extension import answers

        return answers.edit(request)


@contextmanager
def _for_people() -> Iterator[None]:
    """What a request got wrong becomes a 422 with the reason; 503 where no checkpoint is loaded, 409 where
    the run was interrupted before there was anything to answer.
    """
    from lib_unet_viz.sampling.model import Interrupted

    try:
        yield
    except NoModelError as error:
        raise HTTPException(status_code=503, detail=_text(error)) from error
    except Interrupted as error:
        raise HTTPException(status_code=409, detail=_text(error)) from error
    except ValueError as error:
        raise HTTPException(status_code=422, detail=_text(error)) from error


def _authorized(credentials: HTTPBasicCredentials = Depends(HTTPBasic())) -> None:  # noqa: B008
    """One of the users of `--api-auth user:password,...`."""
    given = f"{credentials.username}:{credentials.password}".encode()
    allowed = [compare_digest(given, entry.encode()) for entry in shared.cmd_opts.api_auth.split(",")]
    if not any(allowed):
        detail, headers = "Incorrect username or password", {"WWW-Authenticate": "Basic"}
        raise HTTPException(status_code=401, detail=detail, headers=headers)
