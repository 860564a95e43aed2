import bs4

print(bs4.BeautifulSoup("<p>a<b>c</p>", "html.parser").b.text)
