import certifi

print(open(certifi.where()).read().count("BEGIN") > 50, len(certifi.contents()) > 1000)
