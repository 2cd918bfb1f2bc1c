"""The rating page's server.

The blindness contract, kept here and tested by tests/listening/test_leaks.py:

1. Which clip is whose is in the sealed mapping alone. No answer to a rater's browser is made from the sides
   of a trial, until that rater has finished: the session, the answers' echo and the errors are made from
   sides A and B only.
2. A clip's name in a URL is a random ticket of that rater for that trial and side; the file's name on disk
   is random too and never leaves the server.
3. All clips of a pair have the same number of bytes, the same headers and no metadata: they are compressed
   together (`bench.audio.equal_flac`), so that not a byte beside the sound differs, when the first of them is asked
   for: its time tells which was asked for first, and nothing of whose it is. JSON is padded to whole blocks of 2 KiB.
4. Nothing is kept by the browser (`no-store`) and nothing comes from elsewhere (CSP `self` only).
5. The names appear in `/api/results`, which is refused until all who were invited have finished, and as many as the
   rule asks for; after that nothing of theirs can be changed. Sides and orders are each rater's own.
6. The mapping's SHA-256 was published before the first rating and is shown to every rater.

A rater's link carries their token after the `#`, which browsers do not send: it comes in the Authorization
header alone, so that no log, proxy or Referer holds it, and no other site's page can use it.
"""

import contextlib
import ipaddress
import json
import re
import socket
import sys
import threading
import unicodedata
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from starlette.exceptions import HTTPException as StarletteHTTPException

from bench.audio.wav import encode_wav_16bit
from bench.errors import BadInput
from bench.listening import heard, served_clips, sound_check
from bench.listening.book import Given, Refused
from bench.listening.limits import BodyLimit, RateLimit
from bench.listening.raters import ensure_one, link
from bench.listening.results import reveal
from bench.listening.sitting import BREAK_AFTER, Asked, Seat, Sitting
from bench.listening.store import NotSaved
from bench.listening.trials import SIDES, Side
from bench.records.listening import MAX_NOTE
from bench.storage.clock import utc_now
from bench.verdict.collect import read_takes

PAGE = Path(__file__).with_name("page")
SILENCE = "/silence.wav"
"""What an iPhone without `navigator.audioSession` plays in a loop, so that its ring switch does not mute the page."""
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
JSON_BLOCK = 2048
RATER_LIMIT = (20.0, 60)
"""Requests a second and at once, of one rater; a page in use makes two a second."""
ADDRESS_LIMIT = (50.0, 200)
"""The same by address, once for the page's own files and once for guessed tokens: whoever guesses from a rater's
address, through the same proxy perhaps, does not keep the page from them."""
TELL_EVERY_S = 2.0
ABOUT_A_PAIR_S = 20
"""Beside hearing both clips once: the reference again, some switching, two scores."""
KEPT = {"\n", "\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}", *map(chr, range(0xE0020, 0xE0080))}
"""What a note may hold of control and format characters: lines, joined emoji, Persian, the tags of flags."""
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "media-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
Score = Annotated[StrictInt, Field(ge=1, le=5)]


class AnswerBody(BaseModel):
    """What the page sends for a pair: scores of A and B to each question, and the number of the answer that it saw
    last."""

    model_config = ConfigDict(extra="forbid")

    a: Score
    b: Score
    a_second: Score | None = None
    b_second: Score | None = None
    comparison: Annotated[StrictInt, Field(ge=-3, le=3)] | None = None
    note: str = Field(default="", max_length=MAX_NOTE)
    revision: Annotated[StrictInt, Field(ge=0)]


class HeardBody(BaseModel):
    """Ranges of seconds that were played of each side since the last report."""

    model_config = ConfigDict(extra="forbid")

    a: list[Any] = []
    b: list[Any] = []


class HeadphonesBody(BaseModel):
    """What the headphone check said."""

    model_config = ConfigDict(extra="forbid")

    result: str = Field(pattern="^(passed|failed|skipped)$")


class DigitsBody(BaseModel):
    """What a rater understood of the digits that were spoken."""

    model_config = ConfigDict(extra="forbid")

    digits: str = Field(pattern=r"^[0-9]{1,9}$")


def create_app(run_dir: Path) -> FastAPI:
    """Return the app for a sealed run, or for the sitting that it is part of. Everything it serves was
    found as sealed.

    Raises:
        BadInput: nothing is sealed, or it was changed since.
    """
    sitting = Sitting(run_dir)
    clips = served_clips.ServedClips(sitting.books)
    sounds = sound_check.SoundCheck()
    words = {
        take.utterance_id: take.text
        for book in sitting.books
        for take in read_takes(book.run_dir / "candidate") or []
    }
    page = {
        f"/{'' if path.name == 'index.html' else path.name}": (path.read_bytes(), TYPES[path.suffix])
        for path in sorted(PAGE.iterdir())
        if path.suffix in TYPES
    }
    page[SILENCE] = (encode_wav_16bit(np.zeros(8000, np.float32), 8000), "audio/wav")
    by_rater, guesses, page_files = (
        RateLimit(*RATER_LIMIT),
        RateLimit(*ADDRESS_LIMIT),
        RateLimit(*ADDRESS_LIMIT),
    )

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.sitting, app.state.book, app.state.sounds = sitting, sitting.first, sounds
    _handle_errors(app)

    def rater(request: Request) -> Seat:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        found = sitting.find_seat(token) if scheme == "Bearer" else None
        if found is None:
            if not guesses.allows(_address(request)):
                raise Refused("too_fast", "Too many requests; wait a moment.", 429)
            raise Refused("unknown", "This link is not valid. Ask for a new one.", 401)
        if not by_rater.allows(found.first.id):
            raise Refused("too_fast", "Too many requests; wait a moment.", 429)
        return found

    def trial_of(ticket: str, of: Seat) -> Asked:
        found = of.find_trial(ticket)
        if found is None:
            raise Refused("unknown_pair", "There is no such pair for you.", 404)
        return found

    def session(of: Seat) -> dict[str, Any]:
        sealed, order = sitting.first.sealed, of.in_order()
        return {
            "rater": of.name,
            "question": sealed.question,
            "question_sha256": sealed.question_sha256,
            "second_question": sealed.second_question,
            "mapping_sha256": sitting.digest,
            "scale": sealed.scale,
            "comparison": _comparison(sealed.question),
            "minutes": _minutes(order),
            "break_after": BREAK_AFTER if sitting.together else None,
            "headphones": of.first.headphones,
            "sound_checked": of.sound_checked,
            "finished": of.finished,
            "revealed": sitting.decided,
            "notices": list(dict.fromkeys(notice for book in sitting.books for notice in book.notices)),
            "trials": [_trial(asked, of, words) for asked in order],
        }

    @app.get("/api/session")
    def get_session(request: Request) -> Response:
        of = rater(request)
        sitting.refresh()
        sitting.check_invited(of)
        return _json(session(of))

    @app.get("/api/clips/{ticket}")
    def get_clip(ticket: str, request: Request) -> Response:
        of = rater(request)
        found = of.find_clip(ticket)
        if found is None:
            raise Refused("unknown_clip", "There is no such clip for you.", 404)
        asked, file = found
        if asked is not None:
            side: Side = "A" if ticket == asked.rater.ticket_of(asked.trial, "A") else "B"
            asked.book.note_opened(asked.rater, asked.trial, side)
        return _part(request, clips.read(file))

    @app.post("/api/trials/{ticket}/heard")
    def post_heard(ticket: str, body: HeardBody, request: Request) -> Response:
        of = rater(request)
        asked = trial_of(ticket, of)
        sitting.check_sound(of)
        length = asked.book.length_s(asked.trial)
        try:
            report: dict[Side, list[heard.Range]] = {
                "A": heard.check_ranges(body.a, length),
                "B": heard.check_ranges(body.b, length),
            }
        except ValueError as error:
            raise Refused("bad_ranges", f"{error}.", 422) from error
        sitting.hear(asked, of, report)
        return _json(_heard(asked))

    @app.post("/api/trials/{ticket}/answer")
    def post_answer(ticket: str, body: AnswerBody, request: Request) -> Response:
        asked = trial_of(ticket, rater(request))
        note = "".join(c for c in body.note if c in KEPT or unicodedata.category(c) not in UNSEEN)
        given = Given(body.a, body.b, body.comparison, note, utc_now(), body.a_second, body.b_second)
        revision = asked.book.answer(asked.rater, asked.trial, given, body.revision)
        return _json({"saved": True, "revision": revision})

    @app.get("/api/sound-check")
    def get_sound_check(request: Request) -> Response:
        return Response(sounds.draw(rater(request).first.id), media_type="audio/wav", headers=HEADERS)

    @app.post("/api/sound-check")
    def post_sound_check(body: DigitsBody, request: Request) -> Response:
        of = rater(request)
        passed = sounds.is_right(of.first.id, body.digits)
        if passed:
            sitting.note_sound(of)
        return _json({"passed": passed})

    @app.post("/api/headphones")
    def post_headphones(body: HeadphonesBody, request: Request) -> Response:
        sitting.check_headphones(rater(request), body.result)
        return _json({"saved": True})

    @app.post("/api/finish")
    def post_finish(request: Request) -> Response:
        sitting.finish(rater(request))
        return _json({"finished": True})

    @app.get("/api/results")
    def get_results(request: Request) -> Response:
        of = rater(request)
        sitting.refresh()
        sitting.check_invited(of)
        if not of.finished:
            raise Refused("not_finished", "The voices are named once you have finished.")
        if not sitting.decided:
            raise Refused(
                "others_rate",
                "The voices are named once everybody has finished "
                f"({sitting.raters_finished} of {sitting.raters_awaited} so far). Come back to this link then.",
            )
        one, *others = (reveal(book, found) for book, found in of.parts)
        return _json(one | {"mapping_sha256": sitting.digest, "others": others})

    @app.get("/{path:path}")
    def get_page(path: str, request: Request) -> Response:
        if not page_files.allows(_address(request)):
            raise Refused("too_fast", "Too many requests; wait a moment.", 429)
        # Only names that were in the page's directory at the start: no path is ever joined to a directory.
        if f"/{path}" not in page:
            raise Refused("not_found", "There is nothing here.", 404)
        data, kind = page[f"/{path}"]
        return Response(data, media_type=kind, headers=HEADERS)

    app.add_middleware(BodyLimit)
    return app


def serve(
    run_dir: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8770,
    open_browser: bool = False,
    behind_tls_proxy: bool = False,
    say: Callable[[str], Any] | None = None,
    then: Sequence[str] = (),
) -> None:
    """Serve the rating page until interrupted, and say every rater's link. Adds the one rater where there is
    none. While it serves it says who is at which pair, and when all have finished what to type `then`.

    Raises:
        BadInput: nothing is sealed, `host` is not loopback and nobody said that a TLS proxy stands before it, or
            the port cannot be had.
        AuditionError: nobody can speak the sound check's digits.
    """
    if not behind_tls_proxy and not _is_loopback(host):
        raise BadInput(
            f"{host} can be reached from other machines, and raters' links and voices would cross the "
            f"network "
            "unencrypted. Put a TLS proxy before it (docs/listening.md names one) and say so with "
            "--behind-tls-proxy."
        )
    speak = say or _print
    sound_check.prepare()
    # Before any link is said: where another server has the port, the links would lead to that one.
    with _listener(host, port) as listener:
        port = listener.getsockname()[1]
        app = create_app(run_dir)
        sitting: Sitting = app.state.sitting
        ensure_one(sitting)
        seats = sitting.seats()
        for seat in seats:
            speak(f"{seat.name} ({seat.status}): {link(seat.first, host, port)}")
        for notice in dict.fromkeys(notice for book in sitting.books for notice in book.notices):
            speak(f"Note: {notice}")
        if open_browser and seats:
            webbrowser.open(link(seats[0].first, host, port))
        over = threading.Event()
        teller = threading.Thread(target=_tell, args=(sitting, speak, then, over), daemon=True)
        teller.start()
        try:
            uvicorn.Server(config(app, host, port, behind_tls_proxy=behind_tls_proxy)).run(sockets=[listener])
        finally:
            over.set()
            teller.join()
            sitting.close()


def _tell(sitting: Sitting, speak: Callable[[str], Any], then: Sequence[str], over: threading.Event) -> None:
    """Say how far each rater is, as it changes: how many pairs, never what they answered."""
    seen: dict[str, tuple[int, str]] = {}
    done = sitting.decided
    while not over.wait(TELL_EVERY_S):
        with contextlib.suppress(NotSaved):
            sitting.refresh()
        for seat in sitting.seats():
            now = (seat.rated, seat.status)
            if seen.get(seat.first.id, (0, "invited")) != now and now != (0, "started"):
                how = "has finished" if seat.status == "finished" else f"has rated {now[0]} of {seat.trials}"
                speak(f"{seat.name} {how}")
            seen[seat.first.id] = now
        if sitting.decided and not done:
            done = True
            speak("All have finished. End this with Ctrl-C, and then:")
            for command in then:
                speak(f"  {command}")


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadInput(
            f"{host}, port {port}, cannot be listened on ({why}). Is another `audition rate` running? End it, or "
            "choose a free port with --port."
        ) from error


def config(app: FastAPI, host: str, port: int, *, behind_tls_proxy: bool = False) -> uvicorn.Config:
    """Return how the app is served: without a log, and without headers that tell of time or software.

    `behind_tls_proxy`: a proxy on this machine says in X-Forwarded-For whose request it is. Without one nobody
    is believed who says so, for anybody on this machine could.
    """
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,  # would name trials in the order they are rated
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=behind_tls_proxy,
        timeout_keep_alive=15,
        limit_concurrency=2000,
        h11_max_incomplete_event_size=16 * 1024,
    )


def _part(request: Request, data: bytes) -> Response:
    """Return a clip, or of it what is asked for from some byte on: a download that was cut off goes on there."""
    asked = re.fullmatch(r"bytes=(\d{1,12})-(\d{0,12})", request.headers.get("range", ""))
    headers = HEADERS | {"Accept-Ranges": "bytes"}
    if asked is None:
        return Response(data, media_type="audio/flac", headers=headers)
    begin, end = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
    if begin > end:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {begin}-{end}/{len(data)}"
    return Response(data[begin : end + 1], status_code=206, media_type="audio/flac", headers=headers)


def _comparison(question: str) -> list[str]:
    """Return the labels of -3 to +3: in the words of the question where it asks how much one sounds like another."""
    degrees = ("much more", "more", "slightly more")
    if re.search(r"\bsounds? like\b", question, re.IGNORECASE):
        towards = {side: [f"{side} sounds {how} like it" for how in degrees] for side in SIDES}
    else:
        towards = {side: [f"{side} {how}" for how in degrees] for side in SIDES}
    return [*towards["A"], "No difference", *reversed(towards["B"])]


def _minutes(trials: Sequence[Asked]) -> int:
    """Return about how long a whole session takes: both clips and the reference once, and time to think."""
    seconds = sum(2 * asked.book.length_s(asked.trial) + ABOUT_A_PAIR_S for asked in trials)
    return max(1, round(seconds / 60))


def _trial(asked: Asked, of: Seat, words: dict[str, str]) -> dict[str, Any]:
    trial, rater = asked.trial, asked.rater
    given = rater.answers.get(trial.trial_id)
    return {
        "id": asked.ticket,
        "a": rater.ticket_of(trial, "A"),
        "b": rater.ticket_of(trial, "B"),
        # One reference for all of a sitting, whatever cut of it each model was given.
        "reference": of.first.ticket_of_reference(trial.channel),
        "practice": trial.kind == "practice",
        # The speaker's own recording says other words than the take beside it.
        "words": None if trial.kind == "anchor" else words[trial.utterance_id],
        "revision": rater.revisions.get(trial.trial_id, 0),
        "answer": given
        and {
            "a": given.a,
            "b": given.b,
            "a_second": given.a_second,
            "b_second": given.b_second,
            "comparison": given.comparison,
            "note": given.note,
        },
        **_heard(asked),
    }


def _heard(asked: Asked) -> dict[str, Any]:
    """Return what was heard of each side, as the server counts it."""
    trial, rater = asked.trial, asked.rater
    return {
        "heard": {side.lower(): rater.ranges.get((trial.trial_id, side), []) for side in SIDES},
        "full": {side.lower(): asked.book.heard_in_full(rater, trial, side) for side in SIDES},
    }


def _json(value: Any, status: int = 200) -> Response:
    """Return JSON padded with spaces, which JSON allows, to whole blocks: its size tells nothing fine."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    padded = data.ljust(-(-len(data) // JSON_BLOCK) * JSON_BLOCK)
    return Response(padded, status_code=status, media_type="application/json", headers=HEADERS)


def _handle_errors(app: FastAPI) -> None:
    """Every error is JSON with a stable word and a sentence; none has a traceback or a path in it."""
    handlers: list[tuple[type[Exception], Callable[[Any], Response]]] = [
        (Refused, lambda e: _error(e.code, str(e), e.status)),
        (RequestValidationError, lambda _: _error("bad_request", "The request is not valid.", 422)),
        (NotSaved, lambda _: _error("not_saved", "Not saved: the server's disk refused it. Try again.", 507)),
        (StarletteHTTPException, lambda e: _error("bad_request", "The request is not valid.", e.status_code)),
        (Exception, lambda _: _error("broken", "The server failed; what you saved is safe.", 500)),
    ]
    for kind, answer in handlers:

        def handle(_: Request, error: Exception, answer: Callable[[Any], Response] = answer) -> Response:
            return answer(error)

        app.add_exception_handler(kind, handle)


def _error(code: str, message: str, status: int) -> Response:
    return _json({"error": code, "message": message}, status)


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
