import babel.dates, babel.numbers, datetime

print(
    babel.dates.format_date(datetime.date(2024, 1, 2), locale="de"),
    babel.numbers.format_currency(1, "EUR", locale="fr"),
)
