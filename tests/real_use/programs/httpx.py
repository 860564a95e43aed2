import httpx

t = httpx.MockTransport(lambda r: httpx.Response(200, json={"u": str(r.url)}))
print(httpx.Client(transport=t).get("http://x/y").json())
