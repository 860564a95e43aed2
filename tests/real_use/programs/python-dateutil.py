import dateutil.parser, dateutil.tz, dateutil.zoneinfo as z

print(dateutil.parser.parse("2024-01-02T03:04Z"), z.get_zonefile_instance().get("Europe/Berlin") is not None)
