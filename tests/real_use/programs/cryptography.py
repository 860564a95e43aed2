from cryptography.fernet import Fernet

k = Fernet(b"A" * 43 + b"=")
print(k.decrypt(k.encrypt(b"x")))
