#!/usr/bin/env python3
"""Lets a client that speaks no TLS use a server that does.

    tests/tunnel.py HOST:PORT

Listens on a free port of 127.0.0.1, prints the port, and passes the bytes of each connection on over TLS, until it is
ended. It checks no certificate: it is for tests.
"""
import asyncio
import ssl
import sys


async def copy(reader, writer):
    """Passes bytes on until the end of the stream, which it passes on too."""
    try:
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
        # TLS ends both directions at once: Python cannot end one of them.
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()
    except OSError:
        # The other side has gone.
        writer.close()


async def main():
    host, port = sys.argv[1].rsplit(":", 1)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    async def serve(reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port), ssl=context)
        except OSError as error:
            print(f"no connection to {host}:{port}: {error}", file=sys.stderr)
            writer.close()
            return
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        for each in (writer, far_writer):
            each.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
