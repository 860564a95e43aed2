import requests

r = requests.Request("GET", "http://x/", params={"a": 1}).prepare()
print(r.url)
from requests.certs import where
import os

print(os.path.getsize(where()) > 1000)
