# pip install websockets; python3 client.py 'ws://127.0.0.1:8080/ws/chat/alice?room=lobby'
import asyncio, json, random, sys, threading, time
import websockets

async def main(url):
    loop, online, epoch, offset, ceiling_ms = asyncio.get_running_loop(), threading.Event(), None, 0, 250

    def send_typed():  # in a thread of its own, because reading stdin blocks
        for line in sys.stdin:
            online.wait()
            command = json.dumps({"type": "message", "message": line.rstrip("\n")})
            asyncio.run_coroutine_threadsafe(socket.send(command), loop).exception()

    threading.Thread(target=send_typed, daemon=True).start()
    while True:
        resume = f"&resume={epoch}:{offset}" if epoch else ""
        started, advice = time.monotonic(), {}
        try:
            async with websockets.connect(url + resume, subprotocols=["throng.v1"]) as socket:
                online.set()
                async for text in socket:
                    match event := json.loads(text):
                        case {"message": said}: print(f"{event.get('user', '--')}: {said}")
                        case {"type": "heartbeat"}: await socket.send('{"type": "heartbeat_ack"}')
                        case {"type": "disconnect"}: advice = event
                        case {"type": "gap"} | {"recovered": False} if epoch: print("-- missed some")
                    epoch, offset = event.get("epoch", epoch), event.get("offset", offset)
        except (OSError, asyncio.TimeoutError, websockets.WebSocketException) as error: print("--", error)
        online.clear()
        if advice.get("reconnect") is False:
            sys.exit(f"-- closed for good: {advice['reason']}")
        ceiling_ms = 500 if time.monotonic() > started + 30 else min(20_000, 2 * ceiling_ms)
        delay_ms = advice.get("after_ms", random.uniform(0, ceiling_ms))
        print(f"-- reconnecting in {delay_ms:.0f} ms")
        await asyncio.sleep(delay_ms / 1000)

asyncio.run(main(sys.argv[1]))
