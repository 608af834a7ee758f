"""A backend beside throng: it logs people in, speaks in rooms, and knows who is online. README.md says how to run it.
"""
import base64
import collections
import hashlib
import hmac
import json
import os
import time

import httpx
import jwt
import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel

THRONG = os.environ.get("THRONG_URL", "http://127.0.0.1:8080")
API_KEY = os.environ["THRONG_API_KEY"]  # one of api.keys
TOKEN_SECRET = os.environ["TOKEN_SECRET"]  # auth.secret
WEBHOOK_SECRET = os.environ["WEBHOOK_SECRET"]  # whsec_…, that of the webhook
TOKEN_SECONDS = 3600
TOLERANCE_SECONDS = 300  # an older request may be one that somebody has recorded
MAX_BODY = 512 * 1024  # throng sends at most 256 KiB

# Your own table of users, with hashes and not with passwords, belongs here.
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
ADMINS = {"alice"}

app = FastAPI()
throng = httpx.AsyncClient(base_url=THRONG, headers={"X-API-Key": API_KEY}, timeout=15)
online: dict[str, int] = {}  # user: since when, in milliseconds since the Unix epoch
seen: collections.OrderedDict[str, None] = collections.OrderedDict()  # ids of the last events


class Login(BaseModel):
    name: str
    password: str


class Announcement(BaseModel):
    room: str
    text: str


@app.post("/login")
async def login(given: Login):
    """Mints a token for throng, which a page passes on: new WebSocket(url, ["throng.v1", "bearer", token])."""
    password = PASSWORDS.get(given.name, "").encode()
    if not password or not hmac.compare_digest(password, given.password.encode()):
        raise HTTPException(401, "wrong name or password")
    now = int(time.time())
    claims = {"sub": given.name, "iat": now, "exp": now + TOKEN_SECONDS}
    return {"token": jwt.encode(claims, TOKEN_SECRET, algorithm="HS256")}


def user_of(authorization: str) -> str:
    try:
        token = authorization.removeprefix("Bearer ")
        return jwt.decode(token, TOKEN_SECRET, algorithms=["HS256"], options={"require": ["sub", "exp"]})["sub"]
    except jwt.InvalidTokenError:
        raise HTTPException(401, "log in first") from None


@app.post("/announce")
async def announce(given: Announcement, authorization: str = Header("")):
    """Says something in a room as the user of api.user."""
    if user_of(authorization) not in ADMINS:
        raise HTTPException(403, "only admins announce")
    answer = await throng.post("/api/publish", json={"room": given.room, "message": given.text})
    if answer.status_code != 200:
        raise HTTPException(502, answer.json()["error"]["message"])
    return answer.json()["result"]


def is_signed(headers, body: bytes) -> bool:
    """Verifies a request as Standard Webhooks demands. While a secret changes, there are several signatures."""
    name, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent.isdecimal() or abs(time.time() - int(sent)) > TOLERANCE_SECONDS:
        return False
    key = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{name}.{sent}.".encode() + body, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    given = headers.get("webhook-signature", "").encode().split(b" ")
    return any(hmac.compare_digest(expected, signature) for signature in given)


@app.post("/throng", status_code=204)
async def webhook(request: Request):
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise HTTPException(413, "too long")
    if not is_signed(request.headers, body):
        raise HTTPException(401, "not signed")
    for event in json.loads(body)["events"]:
        if event["id"] in seen:  # events come at least once
            continue
        if event["type"] == "user_online":
            online[event["user"]] = event["at_ms"]
        elif event["type"] == "user_offline":
            online.pop(event["user"], None)
        elif event["type"] == "resync":  # events may be missing: ask
            await read_users()
        seen[event["id"]] = None
        while len(seen) > 10_000:
            seen.popitem(last=False)
    return Response(status_code=204)


async def read_users():
    """Asks throng who is online, page by page."""
    found, after = {}, None
    while True:
        query = {"limit": 1000, "after": after} if after else {"limit": 1000}
        answer = await throng.get("/api/users", params=query)
        answer.raise_for_status()  # throng sends the webhook again
        page = answer.json()["result"]
        found.update((user, online.get(user, int(time.time() * 1000))) for user in page["users"])
        after = page["next"]
        if after is None:
            break
    online.clear()
    online.update(found)


@app.get("/online")
async def who_is_online():
    return {"online": online}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
