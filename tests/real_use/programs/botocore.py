import botocore.session as b

s = b.get_session()
print(len(s.get_available_services()) > 300)
c = s.create_client("s3", "eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
print(c.meta.endpoint_url)
