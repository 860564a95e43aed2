import pytz, datetime

print(pytz.timezone("Europe/Berlin").localize(datetime.datetime(2024, 7, 1)).isoformat())
