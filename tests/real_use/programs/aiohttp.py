import aiohttp, asyncio
from aiohttp import web


async def main():
    async def h(r):
        return web.json_response({"ok": 1})

    a = web.Application()
    a.router.add_get("/", h)
    r = web.AppRunner(a)
    await r.setup()
    s = web.TCPSite(r, "127.0.0.1", 0)
    await s.start()
    port = s._server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as c:
        print(await (await c.get(f"http://127.0.0.1:{port}/")).json())
    await r.cleanup()


asyncio.run(main())
