from google.cloud import storage
from google.auth.credentials import AnonymousCredentials

print(storage.Client(project="p", credentials=AnonymousCredentials()).bucket("b").path)
