import psycopg2, psycopg2.extensions as e

print(e.QuotedString("x").getquoted(), psycopg2.__libpq_version__ > 0)
