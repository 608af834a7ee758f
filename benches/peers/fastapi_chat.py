"""A chat room on FastAPI: `python3 fastapi_chat.py PORT`. It follows the page on WebSockets of its documentation."""
import json, sys, time

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
rooms: dict[str, list[WebSocket]] = {}

async def broadcast(room: str, text: str) -> None:
    for member in list(rooms.get(room, [])):
        try:
            await member.send_text(text)
        except RuntimeError: # it is closing, and its own task takes it out
            pass

@app.websocket("/{user}")
async def chat(socket: WebSocket, user: str, room: str = "lobby") -> None:
    await socket.accept()
    rooms.setdefault(room, []).append(socket)
    try:
        while True:
            message = json.loads(await socket.receive_text())["message"]
            event = {"type": "message", "user": user, "message": message, "room": room, "ts": time.time_ns() // 10**6}
            await broadcast(room, json.dumps(event, separators=(",", ":")))
    except WebSocketDisconnect:
        pass
    finally:
        rooms[room].remove(socket)
        if not rooms[room]:
            del rooms[room]

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", ws_max_size=64 * 1024)
